package elastic

import (
	"context"
	"fmt"
	"net"
	"sync"

	"github.com/ringrun/ringrun/ring"
)

// A tap sees every frame of a cluster before it is sent, and may let a peer die
// just there: nothing that it sends from then on leaves it.
type tap struct {
	// see returns an error if the frame is lost with its link; it may change body.
	see func(p *peer, e ring.Edge, h ring.Header, body []byte) error
	// meet, if set, returns an error if a link cannot be opened.
	meet func(p *peer, e ring.Edge) error

	mu   sync.Mutex // guards dead
	dead map[*peer]bool
	ends sync.WaitGroup // kills under way
}

func (t *tap) wrap(p *peer) func(string, ring.Transport) ring.Transport {
	return func(_ string, links ring.Transport) ring.Transport { return tapped{links, t, p} }
}

// kill ends a peer inside its own Send.
func (t *tap) kill(p *peer) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.dead == nil {
		t.dead = map[*peer]bool{}
	}
	if !t.dead[p] {
		t.dead[p] = true
		t.ends.Go(p.kill) // closing waits for the goroutine that sends, which is ours
	}
	return t.died(p)
}

func (t *tap) died(p *peer) error {
	return fmt.Errorf("%s was killed by the test: %w", p.id, net.ErrClosed)
}

func (t *tap) check(p *peer) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.dead[p] {
		return t.died(p)
	}
	return nil
}

type tapped struct {
	ring.Transport
	tap  *tap
	peer *peer
}

func (t tapped) open(ctx context.Context, e ring.Edge, f func(context.Context, ring.Edge) (ring.Link, error)) (ring.Link, error) {
	if err := t.tap.check(t.peer); err != nil {
		return nil, err
	}
	if t.tap.meet != nil {
		if err := t.tap.meet(t.peer, e); err != nil {
			return nil, err
		}
	}
	l, err := f(ctx, e)
	if err != nil {
		return nil, err
	}
	return tappedLink{l, t, e}, nil
}

func (t tapped) Dial(ctx context.Context, e ring.Edge) (ring.Link, error) {
	return t.open(ctx, e, t.Transport.Dial)
}

func (t tapped) Accept(ctx context.Context, e ring.Edge) (ring.Link, error) {
	return t.open(ctx, e, t.Transport.Accept)
}

type tappedLink struct {
	ring.Link
	of   tapped
	edge ring.Edge
}

func (l tappedLink) Send(h ring.Header, body []byte) error {
	t := l.of.tap
	err := t.check(l.of.peer)
	if err == nil && t.see != nil {
		err = t.see(l.of.peer, l.edge, h, body)
	}
	if err != nil {
		l.Link.Close()
		return err
	}
	return l.Link.Send(h, body)
}
