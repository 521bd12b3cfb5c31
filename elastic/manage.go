package elastic

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ringrun/ringrun/elastic/blackbox"
	"github.com/ringrun/ringrun/membership"
	"go.uber.org/zap"
)

// A manager follows the views, opens a ring for each, and publishes generations.
// The ring of a view is opened while the one before is still in use: as long as
// that works, the peers change from one to the other between two steps, see
// boundary. When it breaks, they change at once.
//
//	view e+1 ──▶ its ring opens ──▶ stands ───────┐
//	                                              ▼
//	ring e works ─┬─▶ all are ready: a step ends ─┴─▶ ring e closed, e+1 published
//	              └─▶ it breaks ──────────────────▲
type manager struct {
	g         *Group
	following <-chan turn // what the node says next; nil: nothing that matters
	now       *generation // the one published last, while its ring works; else nil
	next      *prospect   // the one after it; nil: none yet
	out       bool        // the group goes on without this peer
	seated    bool        // this peer is in a view, or was, under its present ID
	shut      int         // rings that did not open, one after another
	change    time.Time   // since then the group changes; zero: it does not
}

// changing and changed enclose a change of the view, for the trace.
func (m *manager) changing() {
	if m.change.IsZero() {
		m.change = time.Now()
	}
}

func (m *manager) changed() {
	v := m.now.view
	m.g.meter.trace.tell(Span{
		Track: Views, Name: fmt.Sprintf("view %d of %d", v.Epoch, len(v.Peers)), Step: m.g.meter.step(), Epoch: v.Epoch,
	}, m.change, time.Now())
	m.change = time.Time{}
}

// A prospect is a generation whose ring opens, or stands and waits.
type prospect struct {
	gen    *generation
	opened chan error // one is sent, and read once
	cancel context.CancelFunc
	stands bool
}

// A turn is what a node says next: a view, or why there is none.
type turn struct {
	view membership.View
	err  error
}

// manage runs until ctx ends or no view can follow.
func (g *Group) manage(ctx context.Context) {
	m := &manager{g: g, following: g.follow(ctx, 0)}
	err := m.run(ctx)
	m.drop()
	if m.now != nil {
		m.now.comm.Close()
	}
	g.publish(nil, err)
}

func (m *manager) run(ctx context.Context) error {
	drained, told := m.g.drained, m.g.told
	for {
		var err error
		select {
		case t := <-m.following:
			err = m.turn(ctx, t)
		case err = <-m.next.opening():
			err = m.opened(ctx, err)
		case <-m.next.done():
			m.g.session.node.Renew(m.next.gen.view.Epoch)
			m.drop()
		case <-m.now.done():
			m.broke(ctx)
		case <-drained:
			drained = nil
			if m.g.session.node.Retire(); !m.seated {
				err = ErrDrained
			}
		case <-told:
			told = nil
			m.g.session.node.Tell(*m.g.word)
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
		if err == nil {
			err = m.settle(ctx)
		}
		if err != nil {
			return err
		}
	}
}

func (g *Group) follow(ctx context.Context, after uint64) <-chan turn {
	ch := make(chan turn, 1) // so that the goroutine ends although nobody listens
	node := g.session.node
	go func() {
		v, err := node.Next(ctx, after)
		ch <- turn{v, err}
	}()
	return ch
}

// turn takes up what the node says.
func (m *manager) turn(ctx context.Context, t turn) error {
	m.following = nil
	m.drop()
	switch {
	case errors.Is(t.err, membership.ErrExcluded):
		m.out = true
		return nil
	case t.err != nil:
		return t.err
	}
	g := m.g
	m.following = g.follow(ctx, t.view.Epoch)
	m.changing()
	if err := g.session.learn(t.view); err != nil {
		return misfit{err}
	}
	g.mu.Lock()
	g.known = t.view.Epoch
	g.mu.Unlock()
	g.report.view(g.session.node.ID(), t.view)
	if g.seen.Epoch == 0 {
		g.shut, g.founding = time.Now(), g.cfg.Size > 1 && t.view.Epoch <= 2
	}
	g.seen, m.seated = t.view, true
	if g.draining() {
		g.session.node.Retire() // it may not have been in a view when it was asked
	}
	m.next = g.prospect(ctx, t.view)
	return nil
}

func (g *Group) prospect(ctx context.Context, v membership.View) *prospect {
	gen := &generation{view: v, rank: v.Rank(g.session.node.ID()), links: g.session.links, founding: g.founding}
	gen.writes = writesFor(v, gen.rank)
	g.say(gen, "view", zap.Uint64("epoch", v.Epoch), zap.Strings("peers", ids(v)))
	ctx, cancel := context.WithTimeout(ctx, openTimeout+measureTimeout)
	p := &prospect{gen: gen, opened: make(chan error, 1), cancel: cancel}
	go func() { p.opened <- g.open(ctx, gen) }()
	return p
}

func (p *prospect) opening() <-chan error {
	if p == nil || p.stands {
		return nil
	}
	return p.opened
}

func (p *prospect) done() <-chan struct{} {
	if p == nil || !p.stands {
		return nil
	}
	return p.gen.comm.Done()
}

func (gen *generation) done() <-chan struct{} {
	if gen == nil {
		return nil
	}
	return gen.comm.Done()
}

// drop gives up the next generation.
func (m *manager) drop() {
	p := m.next
	if p == nil {
		return
	}
	m.next = nil
	m.g.expect(0, m.out)
	p.cancel()
	if p.stands || <-p.opened == nil {
		p.gen.comm.Close()
	}
}

// opened takes up that the ring of the next view stands, or why it does not.
// Then the view after it may do better. A peer that never had a ring does not
// ask for ever: the others lose time with each attempt.
func (m *manager) opened(ctx context.Context, err error) error {
	g, e := m.g, m.next.gen.view.Epoch
	m.next.cancel()
	if err == nil {
		g.recorder.note(blackbox.Event{Kind: blackbox.RingOpen, Epoch: e})
		m.next.stands = true
		m.shut = 0
		g.shut = time.Time{}
		return nil
	}
	g.recorder.note(blackbox.Event{Kind: blackbox.RingFailed, Epoch: e, Text: err.Error()})
	g.say(m.next.gen, "ring did not open", zap.Uint64("epoch", e), zap.Error(err))
	m.next = nil
	if ctx.Err() == nil && !g.shut.IsZero() && time.Since(g.shut) > openPatience {
		return fmt.Errorf("elastic: no ring has opened for %v: %w", openPatience, err)
	}
	node := g.session.node
	time.AfterFunc(pauseAfter(m.shut), func() { node.Renew(e) })
	m.shut++
	return nil
}

// pauseAfter is how long to wait for the next view when so many rings have not
// opened before. What was wrong with one may be with the next.
func pauseAfter(rings int) time.Duration {
	if rings == 0 {
		return 0
	}
	return min(firstPause<<min(rings, 10), longestPause)
}

const (
	firstPause   = 10 * time.Millisecond
	longestPause = time.Second
)

// broke takes up the end of the ring in use.
func (m *manager) broke(ctx context.Context) {
	g, gen := m.g, m.now
	m.now = nil
	m.changing()
	if !g.over() && !g.retired(gen) && ctx.Err() == nil {
		g.report.broke(g.id(), gen.view.Epoch, gen.comm.Err())
		g.say(gen, "ring broke", zap.Uint64("epoch", gen.view.Epoch), zap.Error(gen.comm.Err()))
		g.saySilent(gen)
	}
	if !g.over() && ctx.Err() == nil {
		g.session.node.Renew(gen.view.Epoch) // nothing happens if there is a later view
	}
	gen.comm.Close()
}

// settle lets the next generation begin if nothing holds the one before. One that
// nobody uses yet is not worth waiting for.
func (m *manager) settle(ctx context.Context) error {
	g := m.g
	if m.now != nil && (m.next != nil || m.out) && !g.inUse(m.now) {
		m.now.comm.Close()
		m.now = nil
	}
	switch {
	case m.now != nil && m.out:
		g.expect(0, true)
	case m.now != nil && m.next != nil && m.next.stands:
		g.expect(m.next.gen.view.Epoch, false)
	case m.now != nil:
	case m.out && g.draining():
		return ErrDrained
	case m.out:
		if err := g.rejoin(ctx); err != nil {
			return err
		}
		m.out, m.seated = false, false
		g.expect(0, false)
		m.following = g.follow(ctx, 0)
	case m.next != nil && m.next.stands:
		m.now, m.next = m.next.gen, nil
		m.changed()
		g.expect(0, false)
		g.publish(m.now, nil)
	}
	return nil
}
