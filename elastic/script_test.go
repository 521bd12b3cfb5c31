package elastic

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ringrun/ringrun/elastic/chaos"
	"github.com/ringrun/ringrun/ring/ringtest"
)

var (
	scriptSeeds  = flag.Int("script.seeds", 4, "how many random scripts TestRandomScripts plays")
	scriptFirst  = flag.Uint64("script.first", 1, "seed of the first")
	scriptFaults = flag.Int("script.faults", 12, "how many faults each has")
)

// A stage lets the faults of a script happen to a cluster.
type stage struct {
	c *cluster
	f *fabric

	mu      sync.Mutex // guards the fields below
	audit   chaos.Audit
	steps   map[int]uint64 // that each peer has reported
	view    []int
	epoch   uint64
	gone    map[int]bool // killed or drained
	frozen  map[int]chan struct{}
	changed chan struct{} // closed and replaced at each report
}

// newStage starts n peers whose passes take a moment each.
func newStage(t *testing.T, n int, s Samples) *stage {
	st := &stage{c: newCluster(t, s), f: newFabric(), steps: map[int]uint64{}, gone: map[int]bool{}, frozen: map[int]chan struct{}{}, changed: make(chan struct{})}
	st.c.config = func(i int, cfg *Config) {
		cfg.ReportSteps = true
		st.f.plug(i, cfg)
	}
	st.c.silence = 500 * time.Millisecond
	st.c.heard = st.hears
	st.c.at = st.pass
	for range n {
		st.c.start(n)
	}
	return st
}

func (s *stage) hears(p *peer, e event) {
	s.f.knows(e)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch e.Event {
	case "step":
		s.steps[number(p.id)] = e.Steps
		s.audit.Add(chaos.Step{ID: e.ID, View: e.Epoch, Steps: e.Steps, Was: e.Was, Sum: e.Sum, Walk: e.Walk, Count: e.Count, Taken: e.Taken})
	case "view":
		if e.Epoch > s.epoch {
			s.epoch, s.view = e.Epoch, nil
			for _, id := range e.Peers {
				s.view = append(s.view, number(id))
			}
		}
	}
	close(s.changed)
	s.changed = make(chan struct{})
}

// pass is called before each pass of a peer; it lasts while the peer is stopped.
func (s *stage) pass(p *peer, _ Shard) error {
	s.mu.Lock()
	frozen := s.frozen[number(p.id)]
	s.mu.Unlock()
	compute := time.NewTimer(2 * time.Millisecond)
	defer compute.Stop()
	select {
	case <-compute.C:
	case <-s.c.ctx.Done():
	}
	if frozen != nil {
		select {
		case <-frozen:
		case <-s.c.ctx.Done():
		}
	}
	return nil
}

func (s *stage) Await(ctx context.Context, step uint64) error {
	for {
		s.mu.Lock()
		got, changed := s.audit.Steps(), s.changed
		s.mu.Unlock()
		if got >= step {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (s *stage) Do(f chaos.Fault) (undo func() error, err error) {
	switch f.Kind {
	case chaos.Kill, chaos.Drain, chaos.Stop:
		p := s.c.peers[f.Peer]
		select {
		case <-p.done:
			return nil, errors.New("it has ended")
		case <-p.began:
		}
		return s.strike(f, p), nil
	case chaos.Join:
		for range f.Count {
			s.c.start(0)
		}
	case chaos.Cut:
		return s.f.cut(f.Sides[0], f.Sides[1]), nil
	case chaos.Slow:
		s.f.slowDown(f.Peer, f.Delay)
		return func() error { s.f.slowDown(f.Peer, 0); return nil }, nil
	}
	return nil, nil
}

func (s *stage) strike(f chaos.Fault, p *peer) (undo func() error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch f.Kind {
	case chaos.Kill:
		s.gone[f.Peer] = true
		p.kill()
		p.cancel()
	case chaos.Drain:
		s.gone[f.Peer] = true
		p.mu.Lock()
		defer p.mu.Unlock()
		p.g.Drain()
	case chaos.Stop:
		var others []int
		for q := range s.c.peers {
			if q != f.Peer {
				others = append(others, q)
			}
		}
		wake := make(chan struct{})
		s.frozen[f.Peer] = wake
		heal := s.f.cut([]int{f.Peer}, others)
		return func() error {
			s.mu.Lock()
			delete(s.frozen, f.Peer)
			s.mu.Unlock()
			close(wake)
			return heal()
		}
	}
	return nil
}

// verify waits for all peers, and checks what they hold and the books.
func (s *stage) verify() {
	t := s.c.t
	t.Helper()
	s.c.wait()
	var spared []*peer
	for i, p := range s.c.peers {
		if s.gone[i] || p.drained || tooLate(p.err) {
			spared = append(spared, p)
			t.Logf("%s ends with %v", p.id, p.err)
		}
	}
	s.c.check(spared...)
	lost, err := s.audit.Verify("")
	if err != nil {
		t.Error(err)
	}
	t.Logf("%d peers, %d steps, %d lost with those who had committed them, view %d", len(s.c.peers), s.audit.Steps(), lost, s.epoch)
}

// alive counts the peers that run.
func (s *stage) alive() int {
	n := 0
	for _, p := range s.c.peers {
		select {
		case <-p.done:
		default:
			n++
		}
	}
	return n
}

func play(t *testing.T, s *stage, next func() (chaos.Fault, bool)) {
	t.Helper()
	p := &chaos.Player{Stage: s, Say: t.Logf}
	ctx, cancel := context.WithCancel(s.c.ctx)
	go func() {
		defer cancel()
		<-s.c.peers[0].done
		s.c.wait()
	}()
	for f, more := next(); more; f, more = next() {
		if err := p.One(ctx, f); err != nil {
			break // the run has ended before the script
		}
	}
	p.Wait()
	s.verify()
}

// TestScript plays a story: all kinds of faults, one after the other.
func TestScript(t *testing.T) {
	const script = `
kill p2 at step 5
join at step 10
stop p1 for 800ms at step 25
cut {p0 p1} {p3 p4} for 1500ms at step 60
slow p0 5ms for 300ms
drain p0 at step 90
join at step 100`
	faults, err := chaos.Parse(script, 4)
	if err != nil {
		t.Fatal(err)
	}
	ringtest.CheckLeaks(t)
	s := newStage(t, 4, Samples{Count: 640, Batch: 32, Shard: 4, Epochs: 8, Seed: 1})
	play(t, s, func() (chaos.Fault, bool) {
		if len(faults) == 0 {
			return chaos.Fault{}, false
		}
		f := faults[0]
		faults = faults[1:]
		return f, true
	})
}

// Whatever befalls a group, as long as somebody is left who has its state: the run
// completes, every sample of every walk was consumed once, all who are left hold
// equal bits after every step, and never were there two groups.
func TestRandomScripts(t *testing.T) {
	for i := range uint64(*scriptSeeds) {
		seed := *scriptFirst + i
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(seed, 0))
			n := 3 + rng.IntN(3)
			s := newStage(t, n, Samples{Count: 320, Batch: 32, Shard: 4, Epochs: 30, Seed: seed})
			if err := s.Await(s.c.ctx, 1); err != nil {
				t.Fatal(err)
			}
			random := &chaos.Random{Rng: rng, Last: time.Second, Pause: 300 * time.Millisecond}
			left := *scriptFaults
			play(t, s, func() (chaos.Fault, bool) {
				left--
				s.mu.Lock()
				view := slices.DeleteFunc(slices.Clone(s.view), func(p int) bool { return s.gone[p] })
				s.mu.Unlock()
				return random.Next(view, s.alive(), time.Now()), left >= 0
			})
		})
	}
}
