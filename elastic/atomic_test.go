package elastic

import (
	"fmt"
	"hash/maphash"
	"math"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/ringrun/ringrun/ring"
)

// The tests in this file let peers die at exact points, and check after every
// step that those who are left hold equal bits, and at the end that every sample
// was in exactly one step.

// A stepper is a cluster that notes what each peer holds after each step.
type stepper struct {
	*cluster
	seed maphash.Seed

	mu    sync.Mutex               // guards the fields below
	step  map[*peer]uint64         // that it is in
	held  map[uint64]map[*peer]any // after a step: a hash of all parameters
	sent  map[*peer]int            // frames, where the test counts them
	downs []*peer
}

const atomicSteps = 6

func newStepper(t *testing.T) *stepper {
	s := &stepper{
		cluster: newCluster(t, Samples{Count: 1800, Batch: 600, Shard: 60, Epochs: 2, Seed: 1}),
		seed:    maphash.MakeSeed(),
		step:    map[*peer]uint64{}, held: map[uint64]map[*peer]any{}, sent: map[*peer]int{},
	}
	s.buckets = 3 // of 4800 bytes: more than what goes in one frame to everybody
	s.tap = &tap{}
	s.before = func(p *peer) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.step[p] = p.g.Steps() + 1
		return nil
	}
	s.applied = s.note
	return s
}

func (s *stepper) note(p *peer, step uint64) {
	var h maphash.Hash
	h.SetSeed(s.seed)
	for _, x := range append(slices.Clone(p.model.counts), p.model.marks) {
		maphash.WriteComparable(&h, math.Float64bits(x))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held[step] == nil {
		s.held[step] = map[*peer]any{}
	}
	if old, twice := s.held[step][p]; twice {
		s.t.Errorf("%s applied step %d twice, %v and %v", p.id, step, old, h.Sum64())
	}
	s.held[step][p] = h.Sum64()
}

// kill lets a peer die now, inside its own Send.
func (s *stepper) kill(p *peer) error {
	s.mu.Lock()
	if !slices.Contains(s.downs, p) {
		s.downs = append(s.downs, p)
	}
	s.mu.Unlock()
	return s.tap.kill(p)
}

// count returns how many frames p has sent when it is counted, this one included.
func (s *stepper) count(p *peer) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent[p]++
	return s.sent[p]
}

func (s *stepper) in(p *peer) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.step[p]
}

// verify waits for all, and compares the survivors at the end and after each step.
// It reports whether anybody died.
func (s *stepper) verify() bool {
	s.t.Helper()
	s.wait()
	s.tap.ends.Wait()
	s.check(s.downs...)
	for step, held := range s.held {
		var want any
		for p, h := range held {
			if slices.Contains(s.downs, p) {
				continue
			}
			if want != nil && h != want {
				s.t.Errorf("after step %d the peers differ", step)
			}
			want = h
		}
	}
	for _, p := range s.peers {
		if !slices.Contains(s.downs, p) && p.steps < atomicSteps {
			s.t.Errorf("%s ends after %d steps, want at least %d", p.id, p.steps, atomicSteps)
		}
	}
	return len(s.downs) > 0
}

// A batch runs subtests side by side, some for each processor: they wait most of
// the time.
type batch struct {
	t       *testing.T
	room    chan struct{}
	running sync.WaitGroup
}

func newBatch(t *testing.T) *batch {
	return &batch{t: t, room: make(chan struct{}, 2*runtime.GOMAXPROCS(0))}
}

func (b *batch) run(name string, f func(t *testing.T)) {
	b.room <- struct{}{}
	b.running.Go(func() {
		b.t.Run(name, f)
		<-b.room
	})
}

func (b *batch) wait() { b.running.Wait() }

// stride is 1, or more when there is little time.
func stride() int {
	if testing.Short() {
		return 4
	}
	return 1
}

// Each peer of three dies at each frame of step 3: in each bucket, at each step of
// the schedule, and when its own part of the step is done and its neighbours' is
// not. What is beyond the last frame of the step falls into the next one.
func TestDeathAtEveryFrame(t *testing.T) {
	together := newBatch(t)
	defer together.wait()
	for victim := range 3 {
		for k := 1; k <= 12; k += stride() {
			together.run(fmt.Sprintf("victim=%d/frame=%d", victim, k), func(t *testing.T) {
				s := newStepper(t)
				s.tap.see = func(p *peer, _ ring.Edge, h ring.Header, _ []byte) error {
					if p == s.peers[victim] && s.in(p) >= 3 && h.Kind == ring.Data && s.count(p) == k {
						return s.kill(p)
					}
					return nil
				}
				for range 3 {
					s.start(3)
				}
				if !s.verify() {
					t.Errorf("%d frames were sent from step 3 on, so nobody died", s.sent[s.peers[victim]])
				}
			})
		}
	}
}

// A peer dies between the reduction and the parameters, and right after them.
func TestDeathAroundApply(t *testing.T) {
	together := newBatch(t)
	defer together.wait()
	for victim := range 3 {
		for _, point := range []string{"before", "after"} {
			together.run(fmt.Sprintf("victim=%d/%s", victim, point), func(t *testing.T) {
				s := newStepper(t)
				die := func(p *peer, step uint64, here string) {
					if p == s.peers[victim] && step == 2 && here == point {
						_ = s.kill(p)
					}
				}
				s.inside = func(p *peer, step uint64) { die(p, step, "before") }
				s.applied = func(p *peer, step uint64) {
					s.note(p, step)
					die(p, step, "after")
				}
				for range 3 {
					s.start(3)
				}
				if !s.verify() {
					t.Error("nobody died")
				}
			})
		}
	}
}

// While the others recover from one death, a second peer dies at each frame of the
// recovery: while statuses are exchanged, while a peer that lacks the step gets the
// state, and in the first reduction after it.
func TestDeathDuringRecovery(t *testing.T) {
	together := newBatch(t)
	defer together.wait()
	for _, second := range []int{0, 2, 3} {
		for k := 1; k <= 10; k += stride() {
			together.run(fmt.Sprintf("second=%d/frame=%d", second, k), func(t *testing.T) {
				s := newStepper(t)
				s.tap.see = func(p *peer, e ring.Edge, h ring.Header, _ []byte) error {
					switch {
					case h.Kind != ring.Data:
					case p == s.peers[1] && s.in(p) >= 3 && s.count(p) == 4+k%6: // some may have the step then and some not
						return s.kill(p)
					case p == s.peers[second] && e.Epoch > 2 && s.count(p) == k:
						return s.kill(p)
					}
					return nil
				}
				for range 4 {
					s.start(4)
				}
				if s.verify(); len(s.downs) != 2 {
					t.Errorf("%d peers died, want 2", len(s.downs))
				}
			})
		}
	}
}
