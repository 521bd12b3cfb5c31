package elastic

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringrun/ringrun/allreduce"
	"github.com/ringrun/ringrun/membership"
	"github.com/ringrun/ringrun/ring"
	"github.com/ringrun/ringrun/ring/shm"
	"go.uber.org/zap"
)

const (
	openTimeout    = 5 * time.Second  // for a ring of peers that are all alive
	measureTimeout = 30 * time.Second // for what they measure on it first
	expectTimeout  = 20 * time.Second // for all peers to start with
	openPatience   = 20 * time.Second // for a peer that never had one
	startTimeout   = 40 * time.Second // for the first peers to come together; see startPatience
	longestStartup = 10 * time.Minute // of a founder that is taken for what the others need
	leaveTimeout   = 2 * time.Second
	partTimeout    = time.Second
	confirmTime    = 100 * time.Millisecond

	smallBytes = 4 << 10 // see allreduce.Config
)

// A Group is this peer's place among the others while it trains. Its methods
// are for the goroutine that trains, except where they say otherwise.
type Group struct {
	cfg     Config
	startup time.Duration // from the start of this process to Run
	comm    allreduce.Config
	report  *report
	meter   *meter
	tally   *tally
	arena   *shm.Arena // nil where there is no shared memory

	recorder *recorder

	mu      sync.Mutex // guards the fields up to the next blank line
	session *session
	now     *generation     // the newest one
	err     error           // no generation will follow
	changed chan struct{}   // closed and replaced when any of them changes
	ended   bool            // training is over: a broken ring is nobody's loss
	known   uint64          // epoch of the newest view
	slow    []Slow          // peers that are
	ready   uint64          // epoch of the next view, whose ring stands; 0: none
	out     bool            // the next view is without this peer
	leaving []string        // those who are not in the next view, as they were asked
	word    *membership.End // how the run has ended, if a launcher has said so

	where struct { // for whoever logs
		id  atomic.Pointer[string]
		gen atomic.Pointer[generation]
	}

	drained  chan struct{} // closed by Drain
	drainSet sync.Once
	told     chan struct{} // closed when there is a word

	// Belong to manage.
	seen     membership.View // the newest one; epoch 0: none yet
	shut     time.Time       // since then no ring has opened
	founding bool            // this peer is one of those that the group began with
	tuning   tuning
	measured string // names the hosts between which links were measured

	state   State
	bound   bool // see BindPasses
	digest  []byte
	check   func(ids []string, all [][]byte) error
	steps   uint64
	sum     uint64  // of the state, for tell
	ledger  *ledger // nil when the program deals with samples itself
	veteran string  // the ID under which this peer last had the group's state

	own     manifest // of this peer's state, at the start of the generation
	partial *partial // the group's state, as far as it has arrived; may be nil
	viaRing bool     // a direct link has failed

	keeper   *keeper
	restored bool // checkpoints have been looked for

	next      step // the one that is not committed yet
	left      bool // this peer has left, between two steps
	retries   uint64
	strayed   atomic.Bool // the others went on without this peer, and it has not found them again
	verifier  verifier
	clerk     clerk
	vitals    *vitals
	pacer     pacer
	confirmed time.Time
	few       time.Time              // since when there are fewer peers than Config.MinSize; zero: there are not
	finishing bool                   // all steps are committed; that others leave is no loss
	lingers   time.Time              // since then this peer waits for those who were left out; zero: it does not
	sharedIn  membership.View        // the last one whose peers have become equal
	final     *membership.End        // how the run has ended, with this peer
	late      *membership.EndedError // and without it
}

// A step is this peer's part in what all peers do together.
type step struct {
	dealt    bool    // the fields below are valid
	holding  bool    // this peer works on it, or has its gradient
	hand     []int   // positions that this peer contributes
	hands    [][]int // the same of all peers, by rank
	consumed []int   // positions that all peers contribute
	taken    int     // positions of the hand that passes have taken
	made     int     // passes that were begun
	inPass   int     // positions in the last of them
	weights  Weights
}

func newGroup(cfg Config, r *report, s *session, comm allreduce.Config) *Group {
	t := newTally()
	r.heard = t.heard
	return &Group{
		cfg: cfg, comm: comm, report: r, meter: newMeter(), vitals: newVitals(), tally: t, session: s, clerk: clerk{name: cfg.Audit, report: r},
		verifier: verifier{every: uint64(max(cfg.VerifyEvery, 0))}, keeper: newKeeper(cfg.Checkpoint, cfg.Logger),
		changed: make(chan struct{}), drained: make(chan struct{}), told: make(chan struct{}),
	}
}

// SetState says what the peers hold in common. It is called once, before the
// first Shards or Commit.
func (g *Group) SetState(st State) { g.state = st }

// State returns what SetState was given, or nil.
func (g *Group) State() State { return g.state }

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

func (g *Group) publish(gen *generation, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if gen != nil {
		g.tally.viewed(g.now, gen.view, g.leaving)
		g.now, g.leaving = gen, nil
		g.where.gen.Store(gen)
		g.where.id.Store(&gen.view.Peers[gen.rank].ID)
	}
	g.err = err
	g.change()
}

// change wakes those who wait for a change. It is called with g.mu held.
func (g *Group) change() {
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
	if g.over() || g.left {
		return nil
	}
	g.finishing = true
	for {
		gen, err := g.sync(ctx)
		if errors.Is(err, errFinal) {
			return nil
		}
		if err != nil {
			return err
		}
		if ended, err := g.end(ctx, gen); ended || err != nil {
			return err
		}
	}
}

// end tries to end the run together with all peers of a generation. It returns
// false, without an error, when that one has ended before, somebody has just
// joined, or the peers hold different bits.
func (g *Group) end(ctx context.Context, gen *generation) (bool, error) {
	g.linger(ctx, gen)
	mine := g.note(gen)
	if err := g.verifier.look(g); err != nil {
		return false, err
	}
	g.verifier.put(&mine)
	b, err := gen.comm.Gather(ctx, mine.encode())
	switch {
	case retry(ctx, err):
		return false, nil
	case err != nil:
		return false, err
	}
	all, err := parseNotes(b)
	if err != nil {
		return false, err
	}
	if all.goesOn() && !mine.Leaving && !mine.Out {
		g.retire(gen)
		return false, nil
	}
	if g.compareNotes(gen, all) {
		return false, nil
	}
	g.final = &membership.End{Group: gen.view.Group, Epoch: gen.view.Epoch, Steps: g.steps}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ended = true
	return true, nil
}

// leave tells the others. It does not wait long for them: somewhat longer at the end
// of the run, when one that was cut off just then may still have to hear of it.
func (g *Group) leave() {
	patience := leaveTimeout
	if g.final != nil {
		g.session.node.Finish(*g.final)
		patience = max(patience, g.cfg.linger)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
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
