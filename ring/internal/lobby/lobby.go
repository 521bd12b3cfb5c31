// Package lobby is where the two ends of a link meet.
//
// A [Lobby] answers whoever connects to a transport. Strangers must prove that
// they know the secret of the run before anything else is read from them, and
// learn why if they are refused. Whoever has proved it says which link it wants,
// and waits until this peer accepts that. What follows, up to the link, is the
// transport's own.
package lobby

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/ringrun/ringrun/membership/strangers"
	"github.com/ringrun/ringrun/ring"
)

// Config says for whom a lobby is.
type Config struct {
	Transport string // its name, in errors and in proofs
	Magic     string // how the handshake begins, seven bytes
	ID        string // this peer
	Run       string // name of the run; peers of another run are refused
	Secret    []byte // shared by the peers of the run, at least 16 bytes

	// Privacy says whether a connection should be encrypted; default: none is.
	Privacy func(net.Conn) Privacy
	// Refused, if set, gets a line about who was refused, at most one a minute. It
	// must not block.
	Refused func(line string)
}

func (c *Config) privacy(conn net.Conn) Privacy {
	if c.Privacy == nil {
		return Never
	}
	return c.Privacy(conn)
}

// Validate reports what is wrong with what users say.
func (c *Config) Validate() error {
	switch {
	case c.ID == "" || len(c.ID) > MaxName:
		return fmt.Errorf("%s: ID %q of %d bytes, want 1 to %d", c.Transport, c.ID, len(c.ID), MaxName)
	case len(c.Run) > MaxName:
		return fmt.Errorf("%s: run name of %d bytes, at most %d", c.Transport, len(c.Run), MaxName)
	case len(c.Secret) < 16:
		return fmt.Errorf("%s: secret of %d bytes, want at least 16", c.Transport, len(c.Secret))
	}
	return nil
}

// A Lobby answers those who connect to one listener.
type Lobby struct {
	cfg     Config
	ln      net.Listener
	crowd   *strangers.Crowd
	running sync.WaitGroup
	closed  chan struct{}

	mu    sync.Mutex
	stop  bool                // closed is closed
	conns map[net.Conn]bool   // not links yet
	seats map[ring.Edge]*seat // where dialers and acceptors meet
	epoch uint64              // the newest that this peer has opened links in
	newer chan struct{}       // closed and replaced when epoch grows
}

// Open starts to answer at a listener, which it takes over. Close ends that.
func Open(cfg Config, ln net.Listener) *Lobby {
	l := &Lobby{
		cfg:    cfg,
		ln:     ln,
		crowd:  strangers.New(strangers.Limits{}, cfg.Refused),
		closed: make(chan struct{}),
		conns:  map[net.Conn]bool{},
		seats:  map[ring.Edge]*seat{},
		newer:  make(chan struct{}),
	}
	l.running.Go(l.listen)
	return l
}

// Addr returns the address of the listener.
func (l *Lobby) Addr() string { return l.ln.Addr().String() }

// Close ends the listener and all pending calls, and waits for what runs in the
// background.
func (l *Lobby) Close() error {
	l.mu.Lock()
	first := !l.stop
	l.stop = true
	if first {
		close(l.closed)
	}
	for c := range l.conns {
		c.Close()
	}
	l.mu.Unlock()
	err := l.ln.Close()
	l.running.Wait()
	l.crowd.Close()
	if !first {
		return nil
	}
	return err
}

// listen answers everybody who connects.
func (l *Lobby) listen() {
	for {
		conn, err := l.ln.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // too many open files, say: it may pass
			l.pause(100 * time.Millisecond)
			continue
		}
		if !l.track(conn) {
			return
		}
		stranger := l.crowd.Enter(conn)
		l.running.Go(func() {
			e, v, err := l.cfg.greet(conn)
			stranger.Leave(blame(err))
			if err != nil || !l.seat(e, v) {
				l.untrack(conn)
				conn.Close()
			}
		})
	}
}

func (l *Lobby) pause(d time.Duration) {
	select {
	case <-time.After(d):
	case <-l.closed:
	}
}

// track makes Close close the connection, until untrack is called. It closes
// the connection itself, and returns false, when the lobby is closed.
func (l *Lobby) track(conn net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stop {
		conn.Close()
		return false
	}
	l.conns[conn] = true
	return true
}

func (l *Lobby) untrack(conn net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, conn)
}

// Background runs f and makes Close wait for it; it returns false when the
// lobby is closed.
func (l *Lobby) Background(f func()) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stop {
		return false
	}
	l.running.Go(f)
	return true
}

// within returns a context that also ends when the lobby is closed.
func (l *Lobby) within(ctx context.Context) (context.Context, context.CancelFunc, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	shut := fmt.Errorf("%s: transport of %s: %w", l.cfg.Transport, l.cfg.ID, net.ErrClosed)
	ok := l.Background(func() {
		select {
		case <-l.closed:
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

// Guard makes the I/O of conn fail when ctx ends. The function it returns ends
// that, and reports whether conn is still good.
func Guard(ctx context.Context, conn net.Conn) func() bool {
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(past) })
	return func() bool { return stop() && conn.SetDeadline(time.Time{}) == nil }
}

var past = time.Unix(1, 0)
