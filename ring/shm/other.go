//go:build !linux

package shm

import (
	"context"
	"errors"

	"github.com/ringrun/ringrun/ring"
)

var errUnsupported = errors.New("shm: shared memory needs Linux")

// An Arena would be memory that all peers of the host may read.
type Arena struct{}

// ErrArena reports that an arena is full or closed.
var ErrArena = errors.New("shm: no room in the arena")

// NewArena returns an error.
func NewArena() (*Arena, error) { return nil, errUnsupported }

// Alloc returns an error.
func (*Arena) Alloc(int) ([]byte, error) { return nil, errUnsupported }

// Free ignores the memory.
func (*Arena) Free([]byte) {}

// Close does nothing.
func (*Arena) Close() error { return nil }

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
