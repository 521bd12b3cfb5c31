package shm

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/ringrun/ringrun/ring"
)

// Transport opens links over shared memory. It is a ring.Sharer, too.
type Transport struct {
	cfg     Config
	arena   *Arena
	ln      *net.UnixListener
	running sync.WaitGroup
	closed  chan struct{}

	mu    sync.Mutex
	stop  bool                   // closed is closed
	conns map[*net.UnixConn]bool // not links yet
	seats map[ring.Edge]*seat    // where dialers and acceptors meet
	epoch uint64                 // the newest that this peer has opened links in
	newer chan struct{}          // closed and replaced when epoch grows
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
	t := &Transport{
		cfg:    cfg,
		arena:  arena,
		ln:     ln,
		closed: make(chan struct{}),
		conns:  map[*net.UnixConn]bool{},
		seats:  map[ring.Edge]*seat{},
		newer:  make(chan struct{}),
	}
	t.running.Go(t.listen)
	return t, nil
}

// Addr returns the name of the socket, for the Resolve of others.
func (t *Transport) Addr() string { return t.ln.Addr().String() }

// Limits implements ring.Transport.
func (t *Transport) Limits() ring.Limits {
	return ring.Limits{FrameBytes: t.cfg.FrameBytes, Lanes: t.cfg.Lanes}
}

// Close gives back the socket and ends all pending calls.
func (t *Transport) Close() error {
	t.mu.Lock()
	first := !t.stop
	t.stop = true
	if first {
		close(t.closed)
		if t.cfg.Arena == nil {
			t.arena.Close()
		}
	}
	for c := range t.conns {
		c.Close()
	}
	t.mu.Unlock()
	err := t.ln.Close()
	t.running.Wait()
	if !first {
		return nil
	}
	return err
}

// maxStrangers is how many connections may be without proof at a time.
const maxStrangers = 128

// listen answers everybody who connects.
func (t *Transport) listen() {
	strangers := make(chan struct{}, maxStrangers)
	for {
		select {
		case strangers <- struct{}{}:
		case <-t.closed:
			return
		}
		conn, err := t.ln.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // too many open files, say: it may pass
			<-strangers
			t.pause(100 * time.Millisecond)
			continue
		}
		if !t.track(conn) {
			return
		}
		t.running.Go(func() {
			e, ok := t.greet(conn)
			<-strangers
			if !ok || !t.seat(e, conn) {
				t.untrack(conn)
				conn.Close()
			}
		})
	}
}

func (t *Transport) pause(d time.Duration) {
	select {
	case <-time.After(d):
	case <-t.closed:
	}
}

// track makes Close close the connection, until untrack is called. It closes
// the connection itself, and returns false, when the transport is closed.
func (t *Transport) track(conn *net.UnixConn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stop {
		conn.Close()
		return false
	}
	t.conns[conn] = true
	return true
}

func (t *Transport) untrack(conn *net.UnixConn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.conns, conn)
}

// background runs f and makes Close wait for it; it returns false when the
// transport is closed.
func (t *Transport) background(f func()) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stop {
		return false
	}
	t.running.Go(f)
	return true
}

// within returns a context that also ends when the transport is closed.
func (t *Transport) within(ctx context.Context) (context.Context, context.CancelFunc, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	shut := fmt.Errorf("shm: transport of %s: %w", t.cfg.ID, net.ErrClosed)
	ok := t.background(func() {
		select {
		case <-t.closed:
			cancel(shut)
		case <-ctx.Done():
		}
	})
	if !ok {
		cancel(shut)
		return nil, nil, shut
	}
	return ctx, func() { cancel(context.Canceled) }, nil
}

// guard makes the I/O of conn fail when ctx ends. The function it returns ends
// that, and reports whether conn is still good.
func guard(ctx context.Context, conn *net.UnixConn) func() bool {
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(past) })
	return func() bool { return stop() && conn.SetDeadline(time.Time{}) == nil }
}

var past = time.Unix(1, 0)
