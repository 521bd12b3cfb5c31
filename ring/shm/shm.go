// Package shm opens the links of a ring between processes of one host over
// shared memory.
//
// Each end of a link keeps what it sends in a segment of its own, which the
// other end can read and cannot write. A socket between them carries the
// handshake and the segments, wakes who sleeps, and tells at once when the
// process at the other end dies. Nothing has a name in the file system, so no
// death leaves anything behind.
//
// It works on Linux. Elsewhere Identity is empty and Listen returns an error.
package shm

import (
	"errors"
	"fmt"

	"github.com/ringrun/ringrun/ring"
)

// Config describes one peer's transport.
type Config struct {
	ID         string                            // this peer
	Run        string                            // name of the run; peers of another run are refused
	Secret     []byte                            // shared by the peers of the run, at least 16 bytes
	Resolve    func(peer string) (string, error) // a peer's Addr
	FrameBytes int                               // default 1 MiB
	RingBytes  int                               // memory for what is under way in one direction, a power of two; default 1 MiB
	Lanes      int                               // default 1
	Arena      *Arena                            // of this peer; it may outlive the transport; default: one of the transport's own
}

func (c *Config) validate() error {
	if c.FrameBytes == 0 {
		c.FrameBytes = 1 << 20
	}
	if c.RingBytes == 0 {
		c.RingBytes = 1 << 20
	}
	if c.Lanes == 0 {
		c.Lanes = 1
	}
	switch {
	case c.ID == "" || len(c.ID) > maxName:
		return fmt.Errorf("shm: ID %q of %d bytes, want 1 to %d", c.ID, len(c.ID), maxName)
	case len(c.Run) > maxName:
		return fmt.Errorf("shm: run name of %d bytes, at most %d", len(c.Run), maxName)
	case len(c.Secret) < 16:
		return fmt.Errorf("shm: secret of %d bytes, want at least 16", len(c.Secret))
	case c.Resolve == nil:
		return errors.New("shm: no way to resolve peers")
	case c.FrameBytes < 0 || c.FrameBytes > ring.MaxBody:
		return fmt.Errorf("shm: frames of %d bytes, want 1 to %d", c.FrameBytes, ring.MaxBody)
	case !validRing(c.RingBytes):
		return fmt.Errorf("shm: ring of %d bytes, want a power of two from %d to %d", c.RingBytes, minRing, maxRing)
	case c.Lanes < 0:
		return fmt.Errorf("shm: %d lanes", c.Lanes)
	}
	return nil
}

const (
	maxName = 255
	minRing = 64 << 10
	maxRing = 64 << 20
)

func validRing(n int) bool { return n >= minRing && n <= maxRing && n&(n-1) == 0 }
