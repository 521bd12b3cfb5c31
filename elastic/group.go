package elastic

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ringrun/ringrun/allreduce"
	"github.com/ringrun/ringrun/membership"
	"github.com/ringrun/ringrun/ring"
	"go.uber.org/zap"
)

const (
	openTimeout  = 5 * time.Second  // for a ring of peers that are all alive
	startTimeout = 40 * time.Second // for the first peers to come together
	leaveTimeout = 2 * time.Second
	partTimeout  = time.Second
	confirmTime  = time.Second
)

// A Group is this peer's place among the others while it trains. Its methods
// are for the goroutine that trains, except where they say otherwise.
type Group struct {
	cfg    Config
	comm   allreduce.Config
	report *report

	mu      sync.Mutex // guards the fields up to the next blank line
	session *session
	now     *generation   // the newest one
	err     error         // no generation will follow
	changed chan struct{} // closed and replaced when any of them changes
	ended   bool          // training is over: a broken ring is nobody's loss

	viewed   bool // manage's: there has been a view
	founding bool // manage's: this peer is one of those that the group began with

	state   State
	digest  []byte
	check   func(ids []string, all [][]byte) error
	steps   uint64
	ledger  *ledger // nil when the program deals with samples itself
	veteran string  // the ID under which this peer last had the group's state

	next      step // the one that is not committed yet
	confirmed time.Time
	finishing bool // all steps are committed; that others leave is no loss
}

// A step is this peer's part in what all peers do together.
type step struct {
	dealt    bool  // the fields below are valid
	holding  bool  // this peer works on it, or has its gradient
	hand     []int // positions that this peer contributes
	consumed []int // positions that all peers contribute
	taken    int   // positions of the hand that passes have taken
	weights  Weights
}

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

func newGroup(cfg Config, r *report, s *session, comm allreduce.Config) *Group {
	return &Group{cfg: cfg, comm: comm, report: r, session: s, changed: make(chan struct{})}
}

// SetState says what the peers hold in common. It is called once, before the
// first Shards or Commit.
func (g *Group) SetState(st State) { g.state = st }

// SetDigest gives bytes that describe this peer's model, and a function that
// compares those of all peers, in rank order. It runs whenever the group has
// changed, before any state is loaded; its error ends training on all peers.
func (g *Group) SetDigest(mine []byte, check func(ids []string, all [][]byte) error) {
	g.digest, g.check = mine, check
}

// Rank returns this peer's place in the current view, and -1 before the first.
// It may be called from any goroutine, as may Size and Epoch.
func (g *Group) Rank() int {
	if gen := g.current(); gen != nil {
		return gen.rank
	}
	return -1
}

// Size returns the number of peers in the current view.
func (g *Group) Size() int {
	if gen := g.current(); gen != nil {
		return len(gen.view.Peers)
	}
	return 0
}

// Epoch returns the epoch of the current view.
func (g *Group) Epoch() uint64 {
	if gen := g.current(); gen != nil {
		return gen.view.Epoch
	}
	return 0
}

// Steps returns the number of steps committed since the run began.
func (g *Group) Steps() uint64 { return g.steps }

func (g *Group) current() *generation {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.now
}

func (g *Group) id() string { return g.node().ID() }

func (g *Group) node() *membership.Node {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.session.node
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
	if !g.viewed {
		g.viewed, g.founding = true, g.cfg.Size > 1 && v.Epoch <= 2
	}
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
		g.say(gen, "ring did not open", zap.Uint64("epoch", v.Epoch), zap.Error(err))
		node.Renew(v.Epoch)
		return <-following
	}
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

func (g *Group) open(ctx context.Context, gen *generation) error {
	r, err := ring.Open(ctx, ring.Config{
		Self:      g.session.node.ID(),
		Peers:     ids(gen.view),
		Epoch:     gen.view.Epoch,
		Transport: g.session.transport,
		Silence:   g.cfg.Silence,
	})
	if err != nil {
		return err
	}
	gen.comm = allreduce.New(r, g.comm)
	return nil
}

// rejoin starts anew under a fresh ID, through the peers of the last view.
func (g *Group) rejoin(ctx context.Context) error {
	cfg := g.cfg
	old := g.session
	cfg.Membership.ID = freshID(old.node.ID())
	cfg.Membership.Found = false
	if gen := g.current(); gen != nil {
		cfg.Membership.Join = nil
		for _, p := range gen.view.Peers {
			if p.ID != old.node.ID() {
				cfg.Membership.Join = append(cfg.Membership.Join, p.Addr)
			}
		}
	}
	g.cfg.Logger.Warn("the group went on without this peer; joining again",
		zap.String("was", old.node.ID()), zap.String("is", cfg.Membership.ID))
	old.close()
	s, err := join(ctx, cfg)
	if err != nil {
		return fmt.Errorf("elastic: joining again as %s: %w", cfg.Membership.ID, err)
	}
	g.founding = false
	g.mu.Lock()
	defer g.mu.Unlock()
	g.session = s
	return nil
}

func (g *Group) publish(gen *generation, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if gen != nil {
		g.now = gen
	}
	g.err = err
	close(g.changed)
	g.changed = make(chan struct{})
}

// await returns the newest generation as soon as its ring stands.
func (g *Group) await(ctx context.Context) (*generation, error) {
	for {
		g.mu.Lock()
		gen, err, changed := g.now, g.err, g.changed
		g.mu.Unlock()
		if err != nil {
			return nil, err
		}
		if gen != nil && gen.comm.Err() == nil {
			return gen, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

func (g *Group) over() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.ended
}

// finish waits until every peer has committed the last step: only then may the
// first one leave, because another might still need its state.
func (g *Group) finish(ctx context.Context) error {
	if g.over() {
		return nil
	}
	g.finishing = true
	for {
		gen, err := g.sync(ctx)
		if err != nil {
			return err
		}
		err = gen.comm.Barrier(ctx)
		if err == nil {
			g.mu.Lock()
			g.ended = true
			g.mu.Unlock()
			return nil
		}
		if !retry(ctx, err) {
			return err
		}
	}
}

// leave tells the others. It does not wait long for them.
func (g *Group) leave() {
	ctx, cancel := context.WithTimeout(context.Background(), leaveTimeout)
	defer cancel()
	if err := g.session.node.Leave(ctx); err != nil {
		g.cfg.Logger.Debug("leave", zap.Error(err))
	}
	g.session.close()
}

// say logs a change of the group: as information on one peer only.
func (g *Group) say(gen *generation, what string, fields ...zap.Field) {
	if gen.rank == 0 {
		g.cfg.Logger.Info(what, fields...)
		return
	}
	g.cfg.Logger.Debug(what, fields...)
}

// retry reports whether a failed collective may succeed in the next generation.
func retry(ctx context.Context, err error) bool {
	return ctx.Err() == nil && errors.Is(err, ring.ErrBroken) && !errors.Is(err, allreduce.ErrMismatch)
}
