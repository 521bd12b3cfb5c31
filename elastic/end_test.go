package elastic

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ringrun/ringrun/elastic/chaos"
	"github.com/ringrun/ringrun/ring"
)

var (
	endSeeds = flag.Int("end.seeds", 16, "how many faults around the last step TestEnd tries")
	endFirst = flag.Uint64("end.first", 1, "seed of the first")
)

// A finale is a stage where one fault befalls the last moments of a run: before a
// frame that a peer sends after all steps but a few are done, or when the first peer
// has reported that it is done.
type finale struct {
	*stage
	last   uint64 // steps of the run
	victim int
	frame  int // which of the victim's; 0: when the first is done
	fault  chaos.Fault
	more   []chaos.Fault

	once  sync.Once
	began chan struct{} // closed when it has happened

	mu   sync.Mutex // guards sent
	sent int
}

func (f *finale) String() string {
	when := fmt.Sprintf("before frame %d of p%d", f.frame, f.victim)
	if f.frame == 0 {
		when = "when the first is done"
	}
	return fmt.Sprintf("%s %s (and %v)", f.fault, when, f.more)
}

const endSteps = 6

// invent draws one of the faults that may hit the end.
func (f *finale) invent(rng *rand.Rand, n int) {
	f.victim, f.frame = rng.IntN(n), rng.IntN(28)
	lasts := []time.Duration{200, 600, 800, 1100, 1500, 2200, 3000}[rng.IntN(7)] * time.Millisecond
	if rng.IntN(6) == 0 {
		lasts = 12 * time.Second // nobody is there any more when it is over
	}
	switch kind := rng.IntN(8); {
	case kind == 0:
		f.fault = chaos.Fault{Kind: chaos.Kill, Peer: f.victim}
	case kind <= 2:
		f.fault = chaos.Fault{Kind: chaos.Stop, Peer: f.victim, For: lasts}
	default:
		all := rng.Perm(n)
		k := 1 + rng.IntN(n-1)
		f.fault = chaos.Fault{Kind: chaos.Cut, Sides: [2][]int{all[:k], all[k:]}, For: lasts}
		if rest := all[k:]; len(rest) > 1 && rng.IntN(3) == 0 { // in three
			f.more = []chaos.Fault{{Kind: chaos.Cut, Sides: [2][]int{rest[:1], rest[1:]}, For: lasts}}
		}
	}
}

// see is called before each frame of a peer.
func (f *finale) see(from int, h ring.Header) {
	if from != f.victim || h.Kind != ring.Data || f.frame == 0 || f.stage.committed(from)+2 < f.last {
		return
	}
	f.mu.Lock()
	f.sent++
	now := f.sent == f.frame
	f.mu.Unlock()
	if now {
		f.strike()
	}
}

func (f *finale) strike() {
	f.once.Do(func() {
		var undo []func() error
		for _, fault := range append([]chaos.Fault{f.fault}, f.more...) {
			if u, err := f.lightly(fault); u != nil && err == nil {
				undo = append(undo, u)
			}
		}
		time.AfterFunc(f.fault.For, func() {
			for _, u := range undo {
				_ = u()
			}
		})
		close(f.began)
	})
}

// lightly does a fault from within a Send: a kill closes what that waits for.
func (f *finale) lightly(fault chaos.Fault) (undo func() error, err error) {
	if fault.Kind != chaos.Kill {
		return f.stage.Do(fault)
	}
	f.stage.mu.Lock()
	f.stage.gone[fault.Peer] = true
	f.stage.mu.Unlock()
	p := f.stage.c.peers[fault.Peer]
	go func() {
		p.kill()
		p.cancel()
	}()
	return nil, nil
}

// committed returns how many steps a peer has reported.
func (s *stage) committed(p int) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.steps[p]
}

// A fault hits a run around its last step, between the last commit and the end of
// training, and during the farewell. Whoever ends well holds what all others hold
// who end well; whoever does not says so; and if the fault is over soon all end
// well.
func TestEnd(t *testing.T) {
	together := newBatch(t)
	defer together.wait()
	for i := range uint64(*endSeeds) {
		seed := *endFirst + i
		together.run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) { playEnd(t, seed) })
	}
}

func playEnd(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 0))
	n := 2 + rng.IntN(4)
	f := &finale{last: endSteps, began: make(chan struct{})}
	f.invent(rng, n)
	f.stage = newStage(t, 0, Samples{Count: 96, Batch: 32, Shard: 4, Epochs: 2, Seed: seed})
	f.stage.f.see = f.see
	f.c.tap = nil
	hears := f.c.heard
	f.c.heard = func(p *peer, e event) {
		hears(p, e)
		if e.Event == "done" && f.frame == 0 {
			f.strike()
		}
	}
	for range n {
		f.c.start(n)
	}
	began := time.Now()
	f.c.wait()
	t.Logf("%d peers; %s; took %v", n, f, time.Since(began).Round(time.Millisecond))
	select {
	case <-f.began:
	default:
		t.Log("the run had ended before")
	}
	f.verifyEnd()
}

// verifyEnd checks how all have ended.
func (f *finale) verifyEnd() {
	t := f.c.t
	t.Helper()
	var done []*peer
	late := 0
	for i, p := range f.c.peers {
		switch {
		case f.gone[i]:
		case p.err == nil && !p.drained:
			done = append(done, p)
		case p.err == nil:
			late++
			t.Logf("%s came too late", p.id)
		default:
			late++
			t.Logf("%s ends with %v", p.id, p.err)
		}
	}
	if len(done) == 0 {
		t.Fatal("nobody ends well")
	}
	if late > 0 && f.fault.For < 4*time.Second {
		t.Errorf("%d peers do not end well, though the fault was over soon", late)
	}
	for _, p := range done {
		if p.steps != done[0].steps || p.steps < f.last || !slices.Equal(p.model.counts, done[0].model.counts) || p.model.marks != done[0].model.marks {
			t.Errorf("%s ends with %v after %d steps, %s with %v after %d", p.id, p.model.marks, p.steps, done[0].id, done[0].model.marks, done[0].steps)
		}
		for s, n := range p.model.counts {
			if n != float64(f.c.samples.Epochs) {
				t.Fatalf("%s: sample %d was consumed %v times in %d epochs", p.id, s, n, f.c.samples.Epochs)
			}
		}
	}
	if _, err := f.audit.Verify(""); err != nil {
		t.Error(err)
	}
}
