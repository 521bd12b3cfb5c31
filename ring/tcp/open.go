package tcp

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/ringrun/ringrun/ring"
	"github.com/ringrun/ringrun/ring/internal/lobby"
)

// Accept implements ring.Transport.
func (t *Transport) Accept(ctx context.Context, e ring.Edge) (link ring.Link, err error) {
	err = t.lobby.Accept(ctx, e, func(ctx context.Context, conn net.Conn) error {
		link, err = t.complete(ctx, conn, e, func() error {
			if err := lobby.WriteMessage(conn, lobby.Welcome, nil); err != nil {
				return err
			}
			_, err := lobby.ReadMessage(conn, lobby.Going, 0)
			return err
		})
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
	conn, err := t.first(ctx, addrs, e)
	if err != nil {
		return nil, err
	}
	link, err := t.complete(ctx, conn, e, func() error {
		if _, err := lobby.ReadMessage(conn, lobby.Welcome, 0); err != nil {
			return err
		}
		return lobby.WriteMessage(conn, lobby.Going, nil)
	})
	if err != nil {
		return nil, t.lobby.Explain(err, conn.RemoteAddr().String())
	}
	return link, nil
}

// complete makes a link of a connection when both ends have said that they are
// there.
func (t *Transport) complete(ctx context.Context, conn net.Conn, e ring.Edge, greet func() error) (ring.Link, error) {
	good := lobby.Guard(ctx, conn)
	err := greet()
	if !good() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return t.newLink(conn, e), nil
}

// first returns the first connection at whose other end is the peer. When there
// is none, a refusal says more than any other error.
func (t *Transport) first(ctx context.Context, addrs []string, e ring.Edge) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, lobby.KnockTime)
	defer cancel()
	type result struct {
		conn net.Conn
		err  error
	}
	results := make(chan result, len(addrs))
	for _, a := range addrs {
		go func() {
			conn, err := t.lobby.Knock(ctx, "tcp", a, e)
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
