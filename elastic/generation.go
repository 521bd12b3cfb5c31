package elastic

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"

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

	inner *allreduce.Comm // of the same peers, for collectives inside passes; nil without BindPasses

	links  ring.Transport // of its ring, and for direct links
	writes bool           // this peer writes its host's checkpoints

	// founding is set on the peers that the group began with: before the first
	// step the state of each is as good as the founder's, should that die.
	founding bool
	shared   bool // its peers have agreed on state; only the training goroutine looks
	scribe   bool // this peer writes the audit; likewise
	talk     talk // what they tell each other after steps; likewise

	// Guarded by the Group's mu.
	used    bool // this peer's training has come to it: it ends between two steps
	retired bool // it has ended so
}

func (g *Group) open(ctx context.Context, gen *generation) error {
	opening, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	r, err := ring.Open(opening, ring.Config{
		Self:      g.session.node.ID(),
		Peers:     ids(gen.view),
		Epoch:     gen.view.Epoch,
		Transport: gen.links,
		Silence:   g.cfg.Silence,
		Pulse: ring.Pulse{
			Say:  func() uint64 { return g.meter.doing().word() },
			Read: func(word uint64) string { return parseDoing(word).String() },
		},
		Chords: g.cfg.Transport != "rtc", // whose links are slow to open
	})
	if err != nil {
		return err
	}
	cfg := g.comm
	cfg.Trace = g.meter.trace.of(gen.view.Epoch, g.meter.step)
	gen.comm = allreduce.New(r, cfg)
	if err = g.reorder(ctx, gen); err == nil {
		err = g.level(ctx, gen)
	}
	if err == nil {
		err = g.tune(ctx, gen)
	}
	if err != nil {
		gen.comm.Close()
	}
	return err
}

// rejoin starts anew under a fresh ID, through all who may be in the group.
func (g *Group) rejoin(ctx context.Context) error {
	cfg := g.cfg
	old := g.session
	g.strayed.Store(true)
	cfg.Membership.ID = freshID(old.node.ID())
	cfg.Membership.Found = false
	cfg.Membership.Join = old.node.Others()
	cfg.Membership.Bind = old.bind(cfg.Membership.Bind)
	g.cfg.Logger.Warn("the group went on without this peer; joining again",
		zap.String("was", old.node.ID()), zap.String("is", cfg.Membership.ID))
	old.close()
	ctx, cancel := g.untilTold(ctx)
	defer cancel()
	s, err := join(ctx, cfg, g.arena)
	if errors.Is(err, syscall.EADDRINUSE) { // somebody has taken the port already
		cfg.Membership.Bind = g.cfg.Membership.Bind
		s, err = join(ctx, cfg, g.arena)
	}
	if over := g.heardOver(); over != nil {
		if err == nil {
			s.close()
		}
		return over
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
