//go:build !linux

package shm

import (
	"context"
	"errors"

	"github.com/ringrun/ringrun/ring"
)

var errUnsupported = errors.New("shm: shared memory needs Linux")

// Identity is empty: this host offers no shared memory.
func Identity() string { return "" }

// Transport would open links over shared memory.
type Transport struct{}

// Listen returns an error.
func Listen(cfg Config) (*Transport, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	return nil, errUnsupported
}

// Addr returns nothing.
func (*Transport) Addr() string { return "" }

// Limits implements ring.Transport.
func (*Transport) Limits() ring.Limits { return ring.Limits{} }

// Dial implements ring.Transport.
func (*Transport) Dial(context.Context, ring.Edge) (ring.Link, error) { return nil, errUnsupported }

// Accept implements ring.Transport.
func (*Transport) Accept(context.Context, ring.Edge) (ring.Link, error) { return nil, errUnsupported }

// Close does nothing.
func (*Transport) Close() error { return nil }
