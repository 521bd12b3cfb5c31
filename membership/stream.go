package membership

import (
	"context"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"
)

// connectTimeout bounds the wait for a host, not for the peer there: a request
// that was lost is repeated later and later, so it is better to begin anew.
const connectTimeout = time.Second

// dial opens a connection and says hello. A port at which nobody listens gives
// an error that wraps syscall.ECONNREFUSED.
func (t *transport) dial(ctx context.Context, addr string, kind byte) (*stream, welcome, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	forget, ok := t.onShutdown(cancel)
	if !ok {
		return nil, welcome{}, ErrClosed
	}
	defer forget()
	if !t.reach(addr) {
		<-ctx.Done()
		return nil, welcome{}, context.Cause(ctx)
	}
	d := net.Dialer{Timeout: connectTimeout}
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, welcome{}, err
	}
	if c.LocalAddr().String() == c.RemoteAddr().String() {
		// Where nobody listens, a port of this host's range for outgoing
		// connections can be connected to itself.
		c.Close()
		return nil, welcome{}, fmt.Errorf("dial %s: %w", addr, syscall.ECONNREFUSED)
	}
	s, ok := t.newStream(c)
	if !ok {
		return nil, welcome{}, ErrClosed
	}
	stop := afterFunc(ctx, func() { s.Close() })
	w, err := t.door.knock(c, kind)
	if !stop() {
		err = fmt.Errorf("%w: %w", errMute, context.Cause(ctx))
	}
	if err != nil {
		s.Close()
		return nil, welcome{}, err
	}
	return s, w, nil
}

// afterFunc is [context.AfterFunc] with a stop that waits for f when it comes
// too late.
func afterFunc(ctx context.Context, f func()) (stop func() bool) {
	ended := make(chan struct{})
	prevent := context.AfterFunc(ctx, func() {
		defer close(ended)
		f()
	})
	return func() bool {
		if prevent() {
			return true
		}
		<-ended
		return false
	}
}

// ask learns who listens at an address.
func (t *transport) ask(ctx context.Context, addr string) (w welcome, sameHost bool, err error) {
	s, w, err := t.dial(ctx, addr, helloProbe)
	if err != nil {
		return welcome{}, false, err
	}
	defer s.Close()
	return w, addrPort(s.LocalAddr()).Addr() == addrPort(s.RemoteAddr()).Addr(), nil
}

// A stream is a connection that the transport closes if nobody else does.
type stream struct {
	net.Conn
	forget func()
	once   sync.Once
	done   chan struct{} // closed by Close
}

// newStream returns false, and closes c, when the transport is closed.
func (t *transport) newStream(c net.Conn) (*stream, bool) {
	s := &stream{Conn: c, done: make(chan struct{})}
	forget, ok := t.onShutdown(s.shut)
	if !ok {
		c.Close()
		return nil, false
	}
	s.forget = forget
	return s, true
}

func (s *stream) shut() {
	s.once.Do(func() {
		s.Conn.Close()
		close(s.done)
	})
}

func (s *stream) Close() error {
	s.shut()
	s.forget()
	return nil
}
