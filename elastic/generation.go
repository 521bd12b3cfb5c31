package elastic

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"

	"github.com/ringrun/ringrun/allreduce"
	"github.com/ringrun/ringrun/membership"
	"github.com/ringrun/ringrun/ring"
	"go.uber.org/zap"
)

// A generation is the life of one view.
type generation struct {
	view membership.View
	rank int
	comm *allreduce.Comm

	// founding is set on the peers that the group began with: before the first
	// step the state of each is as good as the founder's, should that die.
	founding bool
	shared   bool // its peers have agreed on state; only the training goroutine looks
}

// A turn is what a node says next: a view, or why there is none.
type turn struct {
	view membership.View
	err  error
}

// manage follows the views, opens a ring for each, and publishes generations
// until ctx ends or no view can follow.
func (g *Group) manage(ctx context.Context) {
	t := <-g.follow(ctx, 0)
	for ctx.Err() == nil {
		switch {
		case errors.Is(t.err, membership.ErrExcluded):
			if err := g.rejoin(ctx); err != nil {
				g.publish(nil, err)
				return
			}
			t = <-g.follow(ctx, 0)
		case t.err != nil:
			g.publish(nil, t.err)
			return
		default:
			t = g.live(ctx, t.view)
		}
	}
	g.publish(nil, context.Cause(ctx))
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

// live is one generation from its view to what the node says after it.
func (g *Group) live(ctx context.Context, v membership.View) turn {
	node := g.session.node
	following := g.follow(ctx, v.Epoch)
	if err := g.session.learn(v); err != nil {
		return turn{err: err}
	}
	g.report.view(node.ID(), v)
	if g.seen.Epoch == 0 {
		g.shut, g.founding = time.Now(), g.cfg.Size > 1 && v.Epoch <= 2
	}
	g.seen = v
	gen := &generation{view: v, rank: v.Rank(node.ID()), founding: g.founding}
	g.say(gen, "view", zap.Uint64("epoch", v.Epoch), zap.Strings("peers", ids(v)))

	octx, cancel := context.WithTimeout(ctx, openTimeout)
	opened := make(chan error, 1) // read once below, whatever happens
	go func() { opened <- g.open(octx, gen) }()
	var err error
	select {
	case err = <-opened:
	case t := <-following:
		cancel()
		if <-opened == nil {
			gen.comm.Close()
		}
		return t
	}
	cancel()
	if err != nil {
		return g.unopened(ctx, gen, err, following)
	}
	g.shut = time.Time{}
	defer gen.comm.Close()
	g.publish(gen, nil)
	select {
	case t := <-following:
		return t
	case <-gen.comm.Done():
	}
	if !g.over() && ctx.Err() == nil {
		g.say(gen, "ring broke", zap.Uint64("epoch", v.Epoch), zap.Error(gen.comm.Err()))
		node.Renew(v.Epoch)
	}
	gen.comm.Close() // wakes the neighbours before we wait
	return <-following
}

// unopened asks for the next view, which may do better. A peer that never had a
// ring does not ask for ever: the others lose time with each attempt.
func (g *Group) unopened(ctx context.Context, gen *generation, err error, following <-chan turn) turn {
	e := gen.view.Epoch
	g.say(gen, "ring did not open", zap.Uint64("epoch", e), zap.Error(err))
	if ctx.Err() == nil && !g.shut.IsZero() && time.Since(g.shut) > openPatience {
		return turn{err: fmt.Errorf("elastic: no ring has opened for %v: %w", openPatience, err)}
	}
	g.session.node.Renew(e)
	return <-following
}

func (g *Group) open(ctx context.Context, gen *generation) error {
	r, err := ring.Open(ctx, ring.Config{
		Self:      g.session.node.ID(),
		Peers:     ids(gen.view),
		Epoch:     gen.view.Epoch,
		Transport: g.session.links,
		Silence:   g.cfg.Silence,
	})
	if err != nil {
		return err
	}
	gen.comm = allreduce.New(r, g.comm)
	return nil
}

// rejoin starts anew under a fresh ID, through all who may be in the group.
func (g *Group) rejoin(ctx context.Context) error {
	cfg := g.cfg
	old := g.session
	cfg.Membership.ID = freshID(old.node.ID())
	cfg.Membership.Found = false
	cfg.Membership.Join = old.node.Others()
	cfg.Membership.Bind = old.bind(cfg.Membership.Bind)
	g.cfg.Logger.Warn("the group went on without this peer; joining again",
		zap.String("was", old.node.ID()), zap.String("is", cfg.Membership.ID))
	old.close()
	s, err := join(ctx, cfg)
	if errors.Is(err, syscall.EADDRINUSE) { // somebody has taken the port already
		cfg.Membership.Bind = g.cfg.Membership.Bind
		s, err = join(ctx, cfg)
	}
	if err != nil {
		return fmt.Errorf("elastic: the group went on without %s, and it joins again as %s: %w", old.node.ID(), cfg.Membership.ID, err)
	}
	g.report.listening(s.node.ID(), s.node.Addr())
	g.founding = false
	g.mu.Lock()
	defer g.mu.Unlock()
	g.session = s
	return nil
}

// bind returns the address to listen on that keeps the port of a session's node:
// who knows one address of the group can still join through it.
func (s *session) bind(was string) string {
	host, port, err := net.SplitHostPort(was)
	if was != "" && (err != nil || port != "0") {
		return was
	}
	if host == "" {
		host = "127.0.0.1"
	}
	if _, port, err = net.SplitHostPort(s.node.Addr()); err != nil {
		return was
	}
	return net.JoinHostPort(host, port)
}
