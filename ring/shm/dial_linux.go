package shm

import (
	"context"
	"crypto/hmac"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/ringrun/ringrun/ring"
)

const (
	knockTime = 3 * time.Second       // for the peer to prove itself
	firstWait = 10 * time.Millisecond // before the next attempt; doubles
	longWait  = 250 * time.Millisecond
)

// Dial implements ring.Transport. It tries again until ctx ends; only a refusal
// is final, and errors.As finds it as a *RefusedError.
func (t *Transport) Dial(ctx context.Context, e ring.Edge) (ring.Link, error) {
	var l *link
	err := t.dial(ctx, e, func(ctx context.Context, conn *net.UnixConn) (err error) {
		l, err = t.complete(ctx, e, conn)
		return err
	})
	if err != nil {
		return nil, err
	}
	return l, nil
}

// dial connects to the peer of an edge and proves who we are, again and again
// until meet succeeds with the connection, which then belongs to it.
func (t *Transport) dial(ctx context.Context, e ring.Edge, meet func(context.Context, *net.UnixConn) error) error {
	if e.Self != t.cfg.ID {
		return fmt.Errorf("shm: %q dials in the name of %q", t.cfg.ID, e.Self)
	}
	ctx, cancel, err := t.within(ctx)
	if err != nil {
		return err
	}
	defer cancel()
	t.enter(e.Epoch)
	var last error
	for wait := firstWait; ctx.Err() == nil; wait = min(2*wait, longWait) {
		err := t.attempt(ctx, e, meet)
		if err == nil {
			return nil
		}
		if _, refused := errors.AsType[*RefusedError](err); refused {
			return err
		}
		if last == nil || ctx.Err() == nil && !timedOut(err) { // else it may only say that ctx ended
			last = err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
	if last == nil {
		last = errors.New("not tried")
	}
	return fmt.Errorf("shm: dial %s: %w; last attempt: %w", e.Peer, context.Cause(ctx), last)
}

func timedOut(err error) bool {
	e, ok := errors.AsType[net.Error](err)
	return ok && e.Timeout()
}

// attempt connects once.
func (t *Transport) attempt(ctx context.Context, e ring.Edge, meet func(context.Context, *net.UnixConn) error) error {
	addr, err := t.cfg.Resolve(e.Peer)
	if err != nil {
		return fmt.Errorf("shm: resolve %s: %w", e.Peer, err)
	}
	if addr == "" {
		return fmt.Errorf("shm: %s has no address", e.Peer)
	}
	conn, err := t.knock(ctx, addr, e)
	if err != nil {
		return err
	}
	if err := meet(ctx, conn); err != nil {
		return explain(err, addr)
	}
	return nil
}

// complete makes a link of a connection when the peer has accepted.
func (t *Transport) complete(ctx context.Context, e ring.Edge, conn *net.UnixConn) (*link, error) {
	good := guard(ctx, conn)
	in, err := receiveSegment(conn, welcome)
	var out *segment
	if err == nil {
		out, err = sendSegment(conn, going, t.cfg.RingBytes)
	}
	if !good() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		release(conn, in, out)
		return nil, err
	}
	return newLink(conn, e, out, in), nil
}

// knock connects, lets the other end prove itself and proves
// itself in turn.
func (t *Transport) knock(ctx context.Context, addr string, e ring.Edge) (*net.UnixConn, error) {
	ctx, cancel := context.WithTimeout(ctx, knockTime)
	defer cancel()
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", addr)
	if err != nil {
		return nil, fmt.Errorf("shm: %w", err)
	}
	conn := c.(*net.UnixConn)
	good := guard(ctx, conn)
	err = t.introduce(conn, e)
	if !good() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		conn.Close()
		return nil, explain(err, addr)
	}
	return conn, nil
}

func (t *Transport) introduce(conn net.Conn, e ring.Edge) error {
	h := hello{version, t.cfg.Run, e.Self, e.Peer, e.Epoch, uint16(e.Lane), newNonce()}
	said := h.appendTo(nil)
	if _, err := conn.Write(said); err != nil {
		return err
	}
	answer, err := readMessage(conn, challenge, nonceBytes+32)
	if err != nil {
		return err
	}
	nonce, got := answer[:nonceBytes], answer[nonceBytes:]
	if !hmac.Equal(got, prove(t.cfg.Secret, "acceptor", said, nonce)) {
		return &RefusedError{Reason: "its secret is not the secret of run " + t.cfg.Run}
	}
	return writeMessage(conn, proof, prove(t.cfg.Secret, "dialer", said, nonce))
}

// explain adds the address to an error of the handshake.
func explain(err error, addr string) error {
	if r, ok := errors.AsType[*RefusedError](err); ok {
		return &RefusedError{Addr: addr, Reason: r.Reason}
	}
	return fmt.Errorf("shm: handshake with %s: %w", addr, err)
}
