package lobby

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
	// KnockTime is how long an address may take to connect and prove itself.
	KnockTime = 3 * time.Second

	firstWait = 10 * time.Millisecond // before the next attempt; doubles
	longWait  = 250 * time.Millisecond
)

// Dial makes attempts at an edge until one succeeds or ctx ends. Only a refusal
// is final, and errors.As finds it as a *RefusedError.
func (l *Lobby) Dial(ctx context.Context, e ring.Edge, attempt func(context.Context) error) error {
	if e.Self != l.cfg.ID {
		return fmt.Errorf("%s: %q dials in the name of %q", l.cfg.Transport, l.cfg.ID, e.Self)
	}
	ctx, cancel, err := l.within(ctx)
	if err != nil {
		return err
	}
	defer cancel()
	l.enter(e.Epoch)
	var last error
	for wait := firstWait; ctx.Err() == nil; wait = min(2*wait, longWait) {
		err := attempt(ctx)
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
	return fmt.Errorf("%s: dial %s: %w; last attempt: %w", l.cfg.Transport, e.Peer, context.Cause(ctx), last)
}

func timedOut(err error) bool {
	e, ok := errors.AsType[net.Error](err)
	return ok && e.Timeout()
}

// Knock connects to an address, lets the other end prove itself and proves
// itself in turn. The caller sees to it that ctx ends after KnockTime.
func (l *Lobby) Knock(ctx context.Context, network, addr string, e ring.Edge) (*Visitor, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, addr)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", l.cfg.Transport, err)
	}
	good := Guard(ctx, conn)
	v, err := l.cfg.introduce(conn, e)
	if !good() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		conn.Close()
		return nil, l.Explain(err, addr)
	}
	return v, nil
}

func (c *Config) introduce(conn net.Conn, e ring.Edge) (*Visitor, error) {
	h := hello{version, c.Run, e.Self, e.Peer, e.Epoch, uint16(e.Lane), c.privacy(conn), newNonce()}
	said := h.appendTo(nil, c.Magic)
	if _, err := conn.Write(said); err != nil {
		return nil, err
	}
	b, err := ReadMessage(conn, challenge, answerBytes+proofBytes)
	if err != nil {
		return nil, err
	}
	answer, got := b[:answerBytes], b[answerBytes:]
	if !hmac.Equal(got, c.prove("acceptor", said, answer)) {
		return nil, &RefusedError{Reason: "its secret is not the secret of run " + c.Run}
	}
	encrypted, ok := agree(h.privacy, Privacy(answer[0]))
	if !ok { // it would have said so
		return nil, ErrStranger
	}
	return c.visitor(conn, encrypted, said, answer), WriteMessage(conn, proof, c.prove("dialer", said, answer))
}

// Explain adds the address to an error of the handshake.
func (l *Lobby) Explain(err error, addr string) error {
	if r, ok := errors.AsType[*RefusedError](err); ok {
		return &RefusedError{Transport: l.cfg.Transport, Addr: addr, Reason: r.Reason}
	}
	return fmt.Errorf("%s: handshake with %s: %w", l.cfg.Transport, addr, err)
}
