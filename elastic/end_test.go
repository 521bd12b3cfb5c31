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
	"github.com/ringrun/ringrun/membership"
	"github.com/ringrun/ringrun/ring"
)

var (
	endSeeds = flag.Int("end.seeds", 12, "how many faults around the last step TestEnd tries")
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

	mu   sync.Mutex // guards the fields below
	sent int
	end  *membership.End // as the first has reported it
}

func (f *finale) String() string {
	when := fmt.Sprintf("before frame %d of p%d", f.frame, f.victim)
	if f.frame == 0 {
		when = "when the first is done"
	}
	return fmt.Sprintf("%s %s (and %v)", f.fault, when, f.more)
}

const (
	endSteps = 6
	longCut  = lingerTime + 3*time.Second
)

// invent draws one of the faults that may hit the end.
func (f *finale) invent(rng *rand.Rand, n int) {
	f.victim, f.frame = rng.IntN(n), rng.IntN(28)
	lasts := []time.Duration{200, 600, 800, 1100, 1500, 2200, 3000}[rng.IntN(7)] * time.Millisecond
	if rng.IntN(6) == 0 {
		lasts = longCut // nobody is there any more when it is over
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
			f.spread()
		})
		close(f.began)
	})
}

// spread says to all what a launcher would, that the run has ended, if it has.
func (f *finale) spread() {
	f.mu.Lock()
	end := f.end
	f.mu.Unlock()
	if end == nil {
		return
	}
	for _, p := range f.c.peers {
		p.mu.Lock()
		g := p.g
		p.mu.Unlock()
		g.hearOver(*end)
	}
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
// training, and during the farewell. Whoever is done holds what all others hold who
// are; and all are if the fault is over soon. If it lasts until the others have gone,
// a peer may learn from its launcher that the run has ended without it.
func TestEnd(t *testing.T) {
	together := newBatch(t)
	defer together.wait()
	for i := range uint64((*endSeeds + stride() - 1) / stride()) {
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
	f.c.tap, f.c.silence = nil, time.Second
	hears := f.c.heard
	f.c.heard = func(p *peer, e event) {
		hears(p, e)
		if e.Event != "done" {
			return
		}
		f.mu.Lock()
		f.end = &membership.End{Group: e.Group, Epoch: e.Epoch, Steps: e.Steps}
		f.mu.Unlock()
		if f.frame == 0 {
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
			t.Errorf("%s ends with %v", p.id, p.err)
		}
	}
	if len(done) == 0 {
		t.Fatal("nobody ends well")
	}
	if late > 0 && f.fault.For < longCut {
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
