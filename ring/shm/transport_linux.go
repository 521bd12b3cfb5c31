package shm

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net"

	"github.com/ringrun/ringrun/ring"
	"github.com/ringrun/ringrun/ring/internal/lobby"
)

// Transport opens links over shared memory. It is a ring.Sharer, too.
//
// The handshake is that of package lobby. With the welcome and the going go file
// descriptors: nobody takes one from a stranger.
type Transport struct {
	cfg   Config
	arena *Arena
	lobby *lobby.Lobby
}

// Listen takes a socket in the abstract name space, which has no file, and
// starts to answer. Close ends that.
func Listen(cfg Config) (*Transport, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if err := probe(); err != nil {
		return nil, err
	}
	var name [16]byte
	rand.Read(name[:]) // never fails
	addr := &net.UnixAddr{Net: "unix", Name: "@ringrun-" + hex.EncodeToString(name[:])}
	ln, err := net.ListenUnix("unix", addr)
	if err != nil {
		return nil, fmt.Errorf("shm: listen: %w", err)
	}
	arena := cfg.Arena
	if arena == nil {
		if arena, err = NewArena(); err != nil {
			ln.Close()
			return nil, err
		}
	}
	return &Transport{cfg: cfg, arena: arena, lobby: lobby.Open(cfg.lobby(), ln)}, nil
}

// Addr returns the name of the socket, for the Resolve of others.
func (t *Transport) Addr() string { return t.lobby.Addr() }

// Limits implements ring.Transport.
func (t *Transport) Limits() ring.Limits {
	return ring.Limits{FrameBytes: t.cfg.FrameBytes, Lanes: t.cfg.Lanes}
}

// Close gives back the socket and ends all pending calls.
func (t *Transport) Close() error {
	err := t.lobby.Close()
	if t.cfg.Arena == nil {
		t.arena.Close()
	}
	return err
}

// Accept implements ring.Transport.
func (t *Transport) Accept(ctx context.Context, e ring.Edge) (ring.Link, error) {
	var l *link
	err := t.lobby.Accept(ctx, e, func(ctx context.Context, c *lobby.Visitor) error {
		conn := c.Conn.(*net.UnixConn)
		good := lobby.Guard(ctx, conn)
		out, err := sendSegment(conn, lobby.Welcome, t.cfg.RingBytes)
		var in *segment
		if err == nil {
			in, err = receiveSegment(conn, lobby.Going)
		}
		l, err = finish(ctx, conn, e, out, in, good, err)
		return err
	})
	if err != nil {
		return nil, err
	}
	return l, nil
}

// Dial implements ring.Transport. It tries again until ctx ends; only a refusal
// is final, and errors.As finds it as a *RefusedError.
func (t *Transport) Dial(ctx context.Context, e ring.Edge) (ring.Link, error) {
	var l *link
	err := t.dial(ctx, e, func(ctx context.Context, c *lobby.Visitor) error {
		conn := c.Conn.(*net.UnixConn)
		good := lobby.Guard(ctx, conn)
		in, err := receiveSegment(conn, lobby.Welcome)
		var out *segment
		if err == nil {
			out, err = sendSegment(conn, lobby.Going, t.cfg.RingBytes)
		}
		l, err = finish(ctx, conn, e, out, in, good, err)
		return err
	})
	if err != nil {
		return nil, err
	}
	return l, nil
}

// finish makes a link when both segments are here, or gives up all of it.
func finish(ctx context.Context, conn *net.UnixConn, e ring.Edge, out, in *segment, good func() bool, err error) (*link, error) {
	if !good() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		release(conn, in, out)
		return nil, err
	}
	return newLink(conn, e, out, in), nil
}

// dial connects to the peer of an edge and proves who we are, again and again
// until meet succeeds with the connection, which then belongs to it.
func (t *Transport) dial(ctx context.Context, e ring.Edge, meet func(context.Context, *lobby.Visitor) error) error {
	return t.lobby.Dial(ctx, e, func(ctx context.Context) error {
		addr, err := t.cfg.Resolve(e.Peer)
		if err != nil {
			return fmt.Errorf("shm: resolve %s: %w", e.Peer, err)
		}
		if addr == "" {
			return fmt.Errorf("shm: %s has no address", e.Peer)
		}
		knock, cancel := context.WithTimeout(ctx, lobby.KnockTime)
		defer cancel()
		conn, err := t.lobby.Knock(knock, "unix", addr, e)
		if err != nil {
			return err
		}
		if err := meet(ctx, conn); err != nil {
			return t.lobby.Explain(err, addr)
		}
		return nil
	})
}
