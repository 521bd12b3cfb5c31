package elastic

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringrun/ringrun/allreduce"
	"github.com/ringrun/ringrun/membership"
	"github.com/ringrun/ringrun/ring"
)

var errKilled = errors.New("killed by the test")

// A counter is a model whose parameter i counts how often sample i was consumed
// by a committed step: the simplest one that shows a lost or repeated sample.
type counter struct {
	counts []float64
	marks  float64 // a parameter that differs between peers until it is shared
}

func (c *counter) Save(w io.Writer) error {
	return binary.Write(w, binary.LittleEndian, append(slices.Clone(c.counts), c.marks))
}

func (c *counter) Load(r io.Reader) error {
	all := make([]float64, len(c.counts)+1)
	if err := binary.Read(r, binary.LittleEndian, all); err != nil {
		return err
	}
	copy(c.counts, all)
	c.marks = all[len(all)-1]
	return nil
}

// A peer is one member of a test's group.
type peer struct {
	id      string
	samples Samples
	model   counter
	steps   uint64
	size    int       // of the group, when its own loop ended
	sum     []float64 // what was reduced last
	retries uint64
	drained bool
	err     error
	began   chan struct{}      // closed when it trains
	cancel  context.CancelFunc // as SIGTERM does
	done    chan struct{}

	mu sync.Mutex
	g  *Group
}

// kill ends a peer as SIGKILL would: its sockets close, and it says nothing.
func (p *peer) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.g.mu.Lock()
	s := p.g.session
	p.g.mu.Unlock()
	s.close()
	if gen := p.g.current(); gen != nil {
		gen.comm.Close()
	}
}

// awaitChange waits until this peer can change to a view after epoch at the end of
// the step, or has.
func (p *peer) awaitChange(ctx context.Context, epoch uint64) {
	for {
		p.g.mu.Lock()
		there, changed := p.g.ready >= epoch || p.g.out || p.g.now.view.Epoch >= epoch || p.g.err != nil, p.g.changed
		p.g.mu.Unlock()
		if there {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// A cluster runs peers of one group in this process.
type cluster struct {
	t       *testing.T
	ctx     context.Context
	samples Samples
	secret  []byte
	addr    chan string                      // of the founder
	at      func(p *peer, shard Shard) error // called before each pass
	inside  func(p *peer, step uint64)       // called between reduce and apply
	applied func(p *peer, step uint64)       // called when parameters have changed
	before  func(p *peer) error              // called before each reduction
	after   func(p *peer, step uint64) error // called after each that succeeded
	heard   func(p *peer, e event)           // called on every report
	state   func(p *peer) State              // default: the model
	loop    func(ctx context.Context, g *Group, p *peer) error
	minimum int      // Config.MinSize
	hosts   []string // Config.Host of peer 0, 1, …, and again
	order   string   // Config.Order
	measure func(ctx context.Context, comm *allreduce.Comm, leaders []int) ([][]ring.Way, error)
	tap     *tap                              // sees every frame
	buckets int                               // in which gradients travel; default 1
	grace   time.Duration                     // Config.Grace
	vector  func(g *Group, p *peer) []float64 // what is reduced, at least of one element for each sample; default: not in the arena
	silence time.Duration                     // Config.Silence; default: longer than any machine pauses
	diverge string                            // Config.OnDivergence
	audit   string                            // Config.Audit
	checks  bool                              // peers compare what they reduce, and marks every 4 steps
	config  func(i int, cfg *Config)          // called before each start

	mu    sync.Mutex // guards peers while some are started in the background
	peers []*peer
}

const (
	noSilence = 20 * time.Second // a Silence that is not the subject of a test
	hangTime  = 3 * time.Minute  // after which a test hangs
)

func newCluster(t *testing.T, s Samples) *cluster {
	ctx, cancel := context.WithTimeout(t.Context(), hangTime)
	t.Cleanup(cancel)
	return &cluster{t: t, ctx: ctx, samples: s, secret: []byte("a secret of the test"), addr: make(chan string, 1)}
}

func (c *cluster) host(i int) string {
	if len(c.hosts) == 0 {
		return ""
	}
	return c.hosts[i%len(c.hosts)]
}

// Events is a launcher that hears what a peer reports.
type events func(e event)

func (f events) Write(b []byte) (int, error) {
	var e event
	if err := json.Unmarshal(b, &e); err != nil {
		return 0, err
	}
	f(e)
	return len(b), nil
}

// start adds a peer. The first founds the group, with size peers to wait for.
func (c *cluster) start(size int) *peer {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := len(c.peers)
	p := &peer{id: fmt.Sprintf("p%d-0", i), samples: c.samples, began: make(chan struct{}), done: make(chan struct{}), model: counter{make([]float64, c.samples.Count), float64(i)}}
	cfg := Config{
		Membership: membership.Config{ID: p.id, Run: "test", Secret: c.secret, Found: i == 0},
		Size:       size,
		MinSize:    c.minimum,
		Grace:      c.grace,

		Host:         c.host(i),
		Order:        c.order,
		measure:      c.measure,
		Audit:        c.audit,
		VerifyEvery:  4,
		OnDivergence: c.diverge,
		Silence:      cmp.Or(c.silence, noSilence),
	}
	if c.tap != nil {
		cfg.wrap = c.tap.wrap(p)
	}
	cfg.Report = events(func(e event) {
		if i == 0 && e.Event == "listening" && e.ID == p.id { // and not when it joins again
			c.addr <- e.Addr
		}
		if c.heard != nil {
			c.heard(p, e)
		}
	})
	if i > 0 {
		addr := <-c.addr
		c.addr <- addr
		cfg.Membership.Join = []string{addr}
		for _, q := range c.peers { // the founder may be gone by now
			q.mu.Lock()
			if q.g != nil {
				cfg.Membership.Join = append(cfg.Membership.Join, q.g.node().Addr())
			}
			q.mu.Unlock()
		}
	}
	if c.config != nil {
		c.config(i, &cfg)
	}
	c.peers = append(c.peers, p)
	ctx, cancel := context.WithCancel(c.ctx)
	p.cancel = cancel
	go func() {
		defer close(p.done)
		defer cancel()
		p.err = Run(ctx, cfg, func(ctx context.Context, g *Group) error { return c.train(ctx, g, p) })
	}()
	return p
}

func (c *cluster) train(ctx context.Context, g *Group, p *peer) error {
	p.mu.Lock()
	p.g = g
	p.mu.Unlock()
	close(p.began)
	g.SetState(&p.model)
	if c.state != nil {
		g.SetState(c.state(p))
	}
	if c.loop != nil {
		return c.loop(ctx, g, p)
	}
	grad := make([]float64, p.samples.Count)
	long := make([]float64, p.samples.Count)
	if c.vector != nil {
		long = c.vector(g, p)
	}
	sum := long[:p.samples.Count]
	p.sum = sum
	if c.checks {
		g.SetCheck(p.check())
	}
	for shard, err := range g.Shards(ctx, p.samples) {
		if err != nil {
			return err
		}
		if c.at != nil {
			if err := c.at(p, shard); err != nil {
				return err
			}
		}
		for _, s := range shard.Samples {
			grad[s]++
		}
		if !shard.Last {
			continue
		}
		_, err := g.Commit(ctx, func(comm *allreduce.Comm, w Weights) error {
			copy(sum, grad)
			if c.before != nil {
				if err := c.before(p); err != nil {
					return err
				}
			}
			err := c.reduce(ctx, comm, long)
			if err == nil && c.after != nil {
				err = c.after(p, g.Steps())
			}
			return err
		}, func() error {
			if c.inside != nil {
				c.inside(p, g.Steps())
			}
			for i, x := range sum {
				p.model.counts[i] += x
			}
			p.model.marks = p.model.marks*0.5 + 1
			if c.applied != nil {
				c.applied(p, g.Steps())
			}
			return nil
		})
		if err != nil {
			return err
		}
		clear(grad)
	}
	p.steps, p.retries, p.drained = g.Steps(), g.Retries(), g.Drained()
	return nil
}

// reduce adds up the gradients, in buckets that are all under way at once.
func (c *cluster) reduce(ctx context.Context, comm *allreduce.Comm, sum []float64) error {
	var works []*allreduce.Work
	for i := range max(c.buckets, 1) {
		lo, hi := ring.Chunk(len(sum), max(c.buckets, 1), i)
		works = append(works, comm.Start(allreduce.Of(sum[lo:hi]), allreduce.Sum))
	}
	var first error
	for _, w := range works {
		if err := w.Wait(ctx); err != nil && first == nil {
			first = err
		}
	}
	return first
}

// wait waits until no peer runs and none was started meanwhile.
func (c *cluster) wait() {
	for i := 0; ; i++ {
		c.mu.Lock()
		if i == len(c.peers) {
			c.mu.Unlock()
			return
		}
		p := c.peers[i]
		c.mu.Unlock()
		<-p.done
	}
}

// check waits for the peers that were not killed and compares what they hold.
func (c *cluster) check(killed ...*peer) {
	c.t.Helper()
	var first *peer
	for _, p := range c.peers {
		<-p.done
		if slices.Contains(killed, p) {
			continue
		}
		if p.err != nil {
			c.t.Errorf("%s: %v", p.id, p.err)
			continue
		}
		for s, n := range p.model.counts {
			if n != float64(c.samples.Epochs) {
				c.t.Fatalf("%s: sample %d was consumed %v times in %d epochs", p.id, s, n, c.samples.Epochs)
			}
		}
		if first == nil {
			first = p
		}
		if p.model.marks != first.model.marks || p.steps != first.steps {
			c.t.Errorf("%s ends with %v after %d steps, %s with %v after %d", p.id, p.model.marks, p.steps, first.id, first.model.marks, first.steps)
		}
	}
	if first == nil && !c.t.Failed() {
		c.t.Error("nobody is left")
	}
}

var someSamples = Samples{Count: 500, Batch: 32, Shard: 4, Epochs: 3, Seed: 1}

func TestPeersTrainTogether(t *testing.T) {
	for _, n := range []int{1, 2, 3, 5} {
		t.Run(fmt.Sprintf("peers=%d", n), func(t *testing.T) {
			c := newCluster(t, someSamples)
			for range n {
				c.start(n)
			}
			c.check()
			if got := c.peers[0].steps; got != 3*16 {
				t.Errorf("%d steps, want 48: with 500 samples in batches of 32, 16 an epoch", got)
			}
		})
	}
}

// Any peer dies, at a random moment of a random step: before it computes, before
// it reduces, or after the reduction and before the step is applied.
func TestDeath(t *testing.T) {
	for _, n := range []int{2, 3, 4} {
		for victim := range n {
			t.Run(fmt.Sprintf("peers=%d/victim=%d", n, victim), func(t *testing.T) {
				rng := rand.New(rand.NewPCG(uint64(n), uint64(victim)))
				when, inside := uint64(3+rng.IntN(30)), rng.IntN(2) == 0
				c := newCluster(t, someSamples)
				c.at = func(p *peer, shard Shard) error {
					if !inside && p == c.peers[victim] && shard.Step == when {
						p.kill()
						return errKilled
					}
					return nil
				}
				var once sync.Once
				c.inside = func(p *peer, step uint64) {
					if inside && p == c.peers[victim] && step == when {
						once.Do(p.kill)
					}
				}
				for range n {
					c.start(n)
				}
				c.check(c.peers[victim])
			})
		}
	}
}

func TestAllButOneDieAtOnce(t *testing.T) {
	c := newCluster(t, someSamples)
	var wg sync.WaitGroup
	wg.Add(3)
	c.at = func(p *peer, shard Shard) error {
		if p != c.peers[2] && shard.Step == 7 {
			wg.Done()
			wg.Wait()
			p.kill()
			return errKilled
		}
		return nil
	}
	for range 4 {
		c.start(4)
	}
	c.check(c.peers[0], c.peers[1], c.peers[3])
}

// A peer that starts later gets the state and takes part until the end.
func TestJoin(t *testing.T) {
	c := newCluster(t, someSamples)
	var once sync.Once
	started, joined := make(chan struct{}), make(chan struct{})
	var worked atomic.Bool
	c.at = func(p *peer, shard Shard) error {
		if p.id == "p2-0" && len(shard.Samples) > 0 {
			worked.Store(true)
		}
		if shard.Step == 5 {
			once.Do(func() { close(started) })
		}
		if shard.Step == 20 && p.id != "p2-0" { // so that it does not come too late
			<-joined
		}
		if shard.Step >= 20 && p.id != "p2-0" {
			p.awaitChange(c.ctx, 3)
		}
		return nil
	}
	var mu sync.Mutex // guards there
	there := map[string]bool{}
	c.heard = func(p *peer, e event) {
		mu.Lock()
		defer mu.Unlock()
		if len(there) < 3 && (e.Event == "view" && len(e.Peers) == 3 || e.Event == "failed") {
			if there[p.id] = true; len(there) == 3 { // all know: nobody can end without the latecomer
				close(joined)
			}
		}
	}
	c.start(2)
	c.start(2)
	<-started
	late := c.start(2)
	<-late.done
	c.check()
	if !worked.Load() {
		t.Error("the latecomer was given no sample")
	}
}

func TestLoopThatForgetsToCommit(t *testing.T) {
	c := newCluster(t, someSamples)
	err := Run(c.ctx, Config{Membership: membership.Config{ID: "p0-0", Run: "test", Secret: c.secret, Found: true}},
		func(ctx context.Context, g *Group) error {
			for _, err := range g.Shards(ctx, someSamples) {
				if err != nil {
					return err
				}
			}
			return nil
		})
	if !errors.Is(err, errUncommitted) {
		t.Errorf("got %v, want %v", err, errUncommitted)
	}
}

func TestPeersWithOtherSamples(t *testing.T) {
	c := newCluster(t, someSamples)
	c.start(2)
	c.samples.Batch = 64
	c.start(2)
	for _, p := range c.peers {
		<-p.done
		if p.err == nil || !strings.Contains(p.err.Error(), "Batch:64") || !strings.Contains(p.err.Error(), "Batch:32") {
			t.Errorf("%s: %v, want an error that names both batches", p.id, p.err)
		}
	}
}
