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
	"github.com/ringrun/ringrun/ring/internal/lobby"
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
	Refused    func(line string)                 // gets a line about strangers who were refused, at most one a minute; default: nobody
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
	host := c.lobby()
	switch {
	case c.Resolve == nil:
		return errors.New("shm: no way to resolve peers")
	case c.FrameBytes < 0 || c.FrameBytes > ring.MaxBody:
		return fmt.Errorf("shm: frames of %d bytes, want 1 to %d", c.FrameBytes, ring.MaxBody)
	case !validRing(c.RingBytes):
		return fmt.Errorf("shm: ring of %d bytes, want a power of two from %d to %d", c.RingBytes, minRing, maxRing)
	case c.Lanes < 0:
		return fmt.Errorf("shm: %d lanes", c.Lanes)
	}
	return host.Validate()
}

func (c *Config) lobby() lobby.Config {
	return lobby.Config{Transport: "shm", Magic: "ringshm", ID: c.ID, Run: c.Run, Secret: c.Secret, Refused: c.Refused}
}

// A RefusedError says why the peer at the other end wants no link.
type RefusedError = lobby.RefusedError

const (
	minRing = 64 << 10
	maxRing = 64 << 20
)

func validRing(n int) bool { return n >= minRing && n <= maxRing && n&(n-1) == 0 }
