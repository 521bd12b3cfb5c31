package rtc

import (
	"context"
	"errors"
	"fmt"

	"go.uber.org/zap"

	"github.com/ringrun/ringrun/ring"
)

// Dial implements ring.Transport. It fails at once if e.Peer cannot be
// signalled, or has left e.Epoch behind.
func (t *Transport) Dial(ctx context.Context, e ring.Edge) (ring.Link, error) {
	ctx, end, err := t.begin(ctx, e)
	if err != nil {
		return nil, err
	}
	defer end()
	t.reach(e.Epoch)
	m := message{Kind: kindOffer, Session: newSession(), edge: edge{e.Self, e.Peer, e.Epoch, e.Lane}}
	l, err := t.dial(ctx, e, m)
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx) // the Signaler does not know more than that it has ended
		}
		return nil, fmt.Errorf("rtc: dial %s: %w", m.edge, err)
	}
	return l, nil
}

func (t *Transport) dial(ctx context.Context, e ring.Edge, m message) (ring.Link, error) {
	s := session{m.edge, m.Session}
	inbox := t.mail.open(s)
	defer t.mail.shut(s)
	return t.attempt(e, m, func(c *conn) (ring.Link, error) {
		var err error
		if m.SDP, err = c.offer(ctx); err != nil {
			return nil, err
		}
		if err := t.cfg.Signal.Send(ctx, e.Peer, m.encode()); err != nil {
			return nil, err
		}
		d, err := awaitAnswer(ctx, inbox)
		if err != nil {
			return nil, err
		}
		if err := c.pc.SetRemoteDescription(d.SessionDescription); err != nil {
			return nil, fmt.Errorf("rtc: answer received: %w", err)
		}
		return t.await(ctx, c, e, d, inbox, nil)
	})
}

func awaitAnswer(ctx context.Context, inbox <-chan message) (description, error) {
	select {
	case m := <-inbox:
		if m.Kind == kindEnd {
			return description{}, refused(m)
		}
		return parseDescription(m)
	case <-ctx.Done():
		return description{}, context.Cause(ctx)
	}
}

// Accept implements ring.Transport. A dialler that fails does not end it, for
// the next may do better; but its error says why the last one failed.
func (t *Transport) Accept(ctx context.Context, e ring.Edge) (ring.Link, error) {
	ctx, end, err := t.begin(ctx, e)
	if err != nil {
		return nil, err
	}
	defer end()
	t.reach(e.Epoch)
	l, err := t.accept(ctx, e, edge{e.Peer, e.Self, e.Epoch, e.Lane})
	if err != nil {
		return nil, fmt.Errorf("rtc: accept %s: %w", edge{e.Peer, e.Self, e.Epoch, e.Lane}, err)
	}
	return l, nil
}

func (t *Transport) accept(ctx context.Context, e ring.Edge, name edge) (ring.Link, error) {
	offers := t.mail.accept(name)
	if offers == nil {
		return nil, errors.New("rtc: this edge is being accepted already")
	}
	defer t.mail.unaccept(name)
	var last error
	for {
		select {
		case m := <-offers:
			l, err := t.take(ctx, e, m, offers)
			if err == nil {
				return l, nil
			}
			if ctx.Err() == nil {
				last = err
			}
			t.cfg.Logger.Debug("offer failed", zap.Stringer("edge", name), zap.Error(err))
		case <-ctx.Done():
			if last != nil {
				return nil, fmt.Errorf("%w; the last offer: %w", context.Cause(ctx), last)
			}
			return nil, context.Cause(ctx)
		}
	}
}

// take answers offer m, and gives up when a newer one comes: its dialler has
// forgotten this one.
func (t *Transport) take(ctx context.Context, e ring.Edge, m message, newer <-chan message) (ring.Link, error) {
	d, err := parseDescription(m)
	if err != nil {
		t.end(e.Peer, m, err.Error())
		return nil, err
	}
	s := session{m.edge, m.Session}
	inbox := t.mail.open(s)
	defer t.mail.shut(s)
	return t.attempt(e, m, func(c *conn) (ring.Link, error) {
		a := message{Kind: kindAnswer, Session: m.Session, edge: m.edge}
		if a.SDP, err = c.answer(ctx, d); err != nil {
			return nil, err
		}
		if err := t.cfg.Signal.Send(ctx, e.Peer, a.encode()); err != nil {
			return nil, err
		}
		return t.await(ctx, c, e, d, inbox, newer)
	})
}

// attempt runs open on a new connection. If open fails, the connection is
// closed and the other side told.
func (t *Transport) attempt(e ring.Edge, m message, open func(*conn) (ring.Link, error)) (ring.Link, error) {
	c, err := t.newConn()
	if err != nil {
		t.end(e.Peer, m, err.Error())
		return nil, err
	}
	l, err := open(c)
	if err != nil {
		t.retire(func() { t.shut(c, e) })
		if !errors.Is(err, errRefused) {
			t.end(e.Peer, m, err.Error())
		}
		return nil, err
	}
	return l, nil
}

// await waits until the connection is open, or is known not to come.
func (t *Transport) await(ctx context.Context, c *conn, e ring.Edge, d description, inbox <-chan message, newer <-chan message) (ring.Link, error) {
	select {
	case ch := <-c.opened:
		// DTLS has compared them; but on this everything depends.
		if sum, _ := c.certificate(); sum != d.fingerprint {
			return nil, c.failure(d.fingerprint)
		}
		return t.newLink(c, ch, e), nil
	case <-c.failed:
		return nil, c.failure(d.fingerprint)
	case m := <-inbox:
		return nil, refused(m)
	case m := <-newer:
		t.mail.putBack(m)
		return nil, errNewer
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

var (
	errRefused = errors.New("rtc: refused")
	errNewer   = errors.New("rtc: a newer offer came")
)

func refused(m message) error { return fmt.Errorf("%w: %s", errRefused, m.Reason) }

// reach refuses the offers of epochs that are over.
func (t *Transport) reach(epoch uint64) {
	for _, m := range t.mail.reach(epoch) {
		t.end(m.From, m, "epoch is over here")
	}
}

// shut closes c and waits for it.
func (t *Transport) shut(c *conn, e ring.Edge) {
	if err := c.close(); err != nil {
		t.cfg.Logger.Debug("close connection", zap.String("peer", e.Peer), zap.Uint64("epoch", e.Epoch), zap.Int("lane", e.Lane), zap.Error(err))
	}
}
