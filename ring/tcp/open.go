package tcp

import (
	"context"
	"errors"
	"fmt"

	"github.com/ringrun/ringrun/ring"
	"github.com/ringrun/ringrun/ring/internal/lobby"
)

// Accept implements ring.Transport.
func (t *Transport) Accept(ctx context.Context, e ring.Edge) (link ring.Link, err error) {
	err = t.lobby.Accept(ctx, e, func(ctx context.Context, v *lobby.Visitor) error {
		link, err = t.complete(ctx, v, e, false)
		return err
	})
	if err != nil {
		return nil, err
	}
	return link, nil
}

// Dial implements ring.Transport. It tries again until ctx ends; only a refusal
// is final, and errors.As finds it as a *RefusedError.
func (t *Transport) Dial(ctx context.Context, e ring.Edge) (link ring.Link, err error) {
	err = t.lobby.Dial(ctx, e, func(ctx context.Context) error {
		link, err = t.attempt(ctx, e)
		return err
	})
	if err != nil {
		return nil, err
	}
	return link, nil
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
	v, err := t.first(ctx, addrs, e)
	if err != nil {
		return nil, err
	}
	link, err := t.complete(ctx, v, e, true)
	if err != nil {
		return nil, t.lobby.Explain(err, v.RemoteAddr().String())
	}
	return link, nil
}

// complete makes a link of a connection when both ends have said that they are
// there.
func (t *Transport) complete(ctx context.Context, v *lobby.Visitor, e ring.Edge, dialed bool) (ring.Link, error) {
	good := lobby.Guard(ctx, v)
	swap := t.accepted
	if dialed {
		swap = t.dialed
	}
	var s *seal
	err := swap(v)
	if err == nil && v.Encrypted {
		s, err = newSeal(ctx, v, t.cfg.TLS, dialed)
	}
	if !good() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		v.Close()
		return nil, err
	}
	return t.newLink(v.Conn, s, e), nil
}

func (t *Transport) accepted(v *lobby.Visitor) error {
	if err := lobby.WriteMessage(v, lobby.Welcome, nil); err != nil {
		return err
	}
	_, err := lobby.ReadMessage(v, lobby.Going, 0)
	return err
}

func (t *Transport) dialed(v *lobby.Visitor) error {
	if _, err := lobby.ReadMessage(v, lobby.Welcome, 0); err != nil {
		return err
	}
	return lobby.WriteMessage(v, lobby.Going, nil)
}

// first returns the first connection at whose other end is the peer. When there
// is none, a refusal says more than any other error.
func (t *Transport) first(ctx context.Context, addrs []string, e ring.Edge) (*lobby.Visitor, error) {
	ctx, cancel := context.WithTimeout(ctx, lobby.KnockTime)
	defer cancel()
	type result struct {
		v   *lobby.Visitor
		err error
	}
	results := make(chan result, len(addrs))
	for _, a := range addrs {
		go func() {
			v, err := t.lobby.Knock(ctx, "tcp", a, e)
			results <- result{v, err}
		}()
	}
	var won *lobby.Visitor
	var why error
	for range addrs { // all of them: none may outlive this call
		r := <-results
		_, refused := errors.AsType[*RefusedError](r.err)
		switch {
		case r.err == nil && won == nil:
			won = r.v
			cancel()
		case r.err == nil:
			r.v.Close()
		case why == nil || refused:
			why = r.err
		}
	}
	if won != nil {
		return won, nil
	}
	return nil, why
}
