// Package tcp opens the links of a ring over TCP.
//
// Each peer listens on one port as long as it lives. Whoever connects must
// prove that it knows the secret of the run before anything else is read from
// it, and learns why if it is refused.
package tcp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/ringrun/ringrun/ring"
)

// Config describes one peer's transport.
type Config struct {
	ID         string                              // this peer
	Run        string                              // name of the run; peers of another run are refused
	Secret     []byte                              // shared by the peers of the run, at least 16 bytes
	Bind       string                              // host:port to listen on; default 127.0.0.1:0
	Resolve    func(peer string) ([]string, error) // the addresses of a peer; all are tried at once
	FrameBytes int                                 // default 512 KiB
	Lanes      int                                 // default 1
}

func (c *Config) validate() error {
	if c.Bind == "" {
		c.Bind = "127.0.0.1:0"
	}
	if c.FrameBytes == 0 {
		c.FrameBytes = 512 << 10
	}
	if c.Lanes == 0 {
		c.Lanes = 1
	}
	switch {
	case c.ID == "" || len(c.ID) > maxName:
		return fmt.Errorf("tcp: ID %q of %d bytes, want 1 to %d", c.ID, len(c.ID), maxName)
	case len(c.Run) > maxName:
		return fmt.Errorf("tcp: run name of %d bytes, at most %d", len(c.Run), maxName)
	case len(c.Secret) < 16:
		return fmt.Errorf("tcp: secret of %d bytes, want at least 16", len(c.Secret))
	case c.Resolve == nil:
		return errors.New("tcp: no way to resolve peers")
	case c.FrameBytes < 0 || c.FrameBytes > ring.MaxBody:
		return fmt.Errorf("tcp: frames of %d bytes, want 1 to %d", c.FrameBytes, ring.MaxBody)
	case c.Lanes < 0:
		return fmt.Errorf("tcp: %d lanes", c.Lanes)
	}
	return nil
}

// Transport opens links over TCP.
type Transport struct {
	cfg     Config
	plain   bool // leave connections to the netpoller
	ln      net.Listener
	running sync.WaitGroup
	closed  chan struct{}

	mu    sync.Mutex
	stop  bool                // closed is closed
	conns map[net.Conn]bool   // not links yet
	seats map[ring.Edge]*seat // where dialers and acceptors meet
	epoch uint64              // the newest that this peer has opened links in
	newer chan struct{}       // closed and replaced when epoch grows
}

// Listen binds the port and starts to answer. Close ends that.
func Listen(cfg Config) (*Transport, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	ln, err := net.Listen("tcp", cfg.Bind)
	if err != nil {
		return nil, fmt.Errorf("tcp: bind %s: %w", cfg.Bind, err)
	}
	t := &Transport{
		cfg:    cfg,
		ln:     ln,
		closed: make(chan struct{}),
		conns:  map[net.Conn]bool{},
		seats:  map[ring.Edge]*seat{},
		newer:  make(chan struct{}),
	}
	t.running.Go(t.listen)
	return t, nil
}

// Addr returns the bound address.
func (t *Transport) Addr() string { return t.ln.Addr().String() }

// Limits implements ring.Transport.
func (t *Transport) Limits() ring.Limits {
	return ring.Limits{FrameBytes: t.cfg.FrameBytes, Lanes: t.cfg.Lanes, Short: true}
}

// Close gives back the port and ends all pending calls. Links that were closed
// before get up to a second to deliver what they have taken.
func (t *Transport) Close() error {
	t.mu.Lock()
	first := !t.stop
	t.stop = true
	if first {
		close(t.closed)
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
		conn, err := t.ln.Accept()
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
func (t *Transport) track(conn net.Conn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stop {
		conn.Close()
		return false
	}
	t.conns[conn] = true
	return true
}

func (t *Transport) untrack(conn net.Conn) {
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
	shut := fmt.Errorf("tcp: transport of %s: %w", t.cfg.ID, net.ErrClosed)
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
func guard(ctx context.Context, conn net.Conn) func() bool {
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(past) })
	return func() bool { return stop() && conn.SetDeadline(time.Time{}) == nil }
}

var past = time.Unix(1, 0)
