package tcp

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
	knockTime = 3 * time.Second       // for one address to connect and to prove itself
	firstWait = 10 * time.Millisecond // before the next attempt; doubles
	longWait  = 250 * time.Millisecond
)

// Dial implements ring.Transport. It tries again until ctx ends; only a refusal
// is final, and errors.As finds it as a *RefusedError.
func (t *Transport) Dial(ctx context.Context, e ring.Edge) (ring.Link, error) {
	if e.Self != t.cfg.ID {
		return nil, fmt.Errorf("tcp: %q dials in the name of %q", t.cfg.ID, e.Self)
	}
	ctx, cancel, err := t.within(ctx)
	if err != nil {
		return nil, err
	}
	defer cancel()
	t.enter(e.Epoch)
	var last error
	for wait := firstWait; ctx.Err() == nil; wait = min(2*wait, longWait) {
		l, err := t.attempt(ctx, e)
		if err == nil {
			return l, nil
		}
		if _, refused := errors.AsType[*RefusedError](err); refused {
			return nil, err
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
	return nil, fmt.Errorf("tcp: dial %s: %w; last attempt: %w", e.Peer, context.Cause(ctx), last)
}

func timedOut(err error) bool {
	e, ok := errors.AsType[net.Error](err)
	return ok && e.Timeout()
}

// attempt tries all addresses of the peer at once, and makes a link of the
// first that answers as it should.
func (t *Transport) attempt(ctx context.Context, e ring.Edge) (ring.Link, error) {
	addrs, err := t.cfg.Resolve(e.Peer)
	if err != nil {
		return nil, fmt.Errorf("tcp: resolve %s: %w", e.Peer, err)
	}
	if len(addrs) == 0 {
		return nil, fmt.Errorf("tcp: %s has no address", e.Peer)
	}
	conn, err := t.first(ctx, addrs, e)
	if err != nil {
		return nil, err
	}
	good := guard(ctx, conn)
	_, err = readMessage(conn, welcome, 0)
	if err == nil {
		err = writeMessage(conn, going, nil)
	}
	if !good() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		conn.Close()
		return nil, explain(err, conn.RemoteAddr().String())
	}
	return t.newLink(conn, e), nil
}

// first returns the first connection at whose other end is the peer. When there
// is none, a refusal says more than any other error.
func (t *Transport) first(ctx context.Context, addrs []string, e ring.Edge) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, knockTime)
	defer cancel()
	type result struct {
		conn net.Conn
		err  error
	}
	results := make(chan result, len(addrs))
	for _, a := range addrs {
		go func() {
			conn, err := t.knock(ctx, a, e)
			results <- result{conn, err}
		}()
	}
	var won net.Conn
	var why error
	for range addrs { // all of them: none may outlive this call
		r := <-results
		_, refused := errors.AsType[*RefusedError](r.err)
		switch {
		case r.err == nil && won == nil:
			won = r.conn
			cancel()
		case r.err == nil:
			r.conn.Close()
		case why == nil || refused:
			why = r.err
		}
	}
	if won != nil {
		return won, nil
	}
	return nil, why
}

// knock connects to one address, lets the other end prove itself and proves
// itself in turn.
func (t *Transport) knock(ctx context.Context, addr string, e ring.Edge) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("tcp: %w", err)
	}
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
	return fmt.Errorf("tcp: handshake with %s: %w", addr, err)
}
