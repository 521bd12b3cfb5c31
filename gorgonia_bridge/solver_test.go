package bridge

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/ringrun/ringrun/allreduce"
	"github.com/ringrun/ringrun/elastic"
	ours "github.com/ringrun/ringrun/gorgonia_bridge/solver"
	"github.com/ringrun/ringrun/ring"
)

var solvers = map[string]func() gorgonia.Solver{
	"SGD":      func() gorgonia.Solver { return gorgonia.NewVanillaSolver(gorgonia.WithLearnRate(0.1)) },
	"Momentum": func() gorgonia.Solver { return gorgonia.NewMomentum(gorgonia.WithLearnRate(0.05)) },
	"Adam":     func() gorgonia.Solver { return gorgonia.NewAdamSolver(gorgonia.WithLearnRate(0.01)) },
	"RMSProp":  func() gorgonia.Solver { return gorgonia.NewRMSPropSolver(gorgonia.WithLearnRate(0.01)) },

	"our SGD":      func() gorgonia.Solver { return ours.NewSGD(ours.WithLearnRate(0.1), ours.WithClipNorm(0.5)) },
	"our Momentum": func() gorgonia.Solver { return ours.NewMomentum(ours.WithLearnRate(0.05), ours.WithL2Reg(0.01)) },
	"our Nesterov": func() gorgonia.Solver { return ours.NewMomentum(ours.WithLearnRate(0.05), ours.WithNesterov()) },
	"our RMSProp":  func() gorgonia.Solver { return ours.NewRMSProp(ours.WithLearnRate(0.01)) },
	"our Adam":     func() gorgonia.Solver { return ours.NewAdam(ours.WithSchedule(ours.Cosine(0.02, 0, 30))) },
	"our AdamW":    func() gorgonia.Solver { return ours.NewAdamW(ours.WithLearnRate(0.01), ours.WithClip(0.2)) },
	"our LARS":     func() gorgonia.Solver { return ours.NewLARS(ours.WithLearnRate(0.1), ours.WithTrust(0.1)) },
	"our LAMB":     func() gorgonia.Solver { return ours.NewLAMB(ours.WithLearnRate(0.01)) },
}

const (
	batch = 10 // samples in a step
	shard = 3  // in a pass: the last pass of a step has one sample and two empty rows
	steps = 20
)

// plain trains in Gorgonia alone, with the whole batch in one pass.
func plain(t *testing.T, dtype tensor.Dtype, s gorgonia.Solver) (weights []float64, loss float64) {
	t.Helper()
	n := newNet(t, netOptions{dtype: dtype, kind: tapeBound, rows: batch, seed: 1})
	for step := range steps {
		if err := n.pass(step*batch, (step+1)*batch, s); err != nil {
			t.Fatal(err)
		}
	}
	return n.weights(t), lossOf(n)
}

func lossOf(n *net) float64 {
	a, _ := arrayOf(n.loss)
	return a.at(0)
}

// A worker is one peer of a test.
type worker struct {
	*net
	group  *testGroup
	bridge *Bridge
	solver gorgonia.Solver
	again  int // passes that were run again
}

func newWorker(t testing.TB, o netOptions, s gorgonia.Solver, comms ...*allreduce.Comm) *worker {
	t.Helper()
	w := &worker{net: newNet(t, o), group: &testGroup{comms: comms}}
	var err error
	if w.bridge, err = attach(w.group, w.params, BucketBytes(40, 100), Average("loss", &w.loss)); err != nil {
		t.Fatal(err)
	}
	w.machine(t, w.bridge)
	w.solver = w.bridge.Solver(s)
	return w
}

// step trains rank's part of one batch, pass by pass.
func (w *worker) step(step, rank, size int) error {
	passes := (batch + shard - 1) / shard
	lo, hi := ring.Chunk(passes, size, rank)
	first, last := step*batch+min(lo*shard, batch), step*batch+min(hi*shard, batch)
	w.group.weights = elastic.Weights{Mine: float64(last-first) / shard, Total: float64(batch) / shard}
	for w.group.left = max(hi-lo, 1); w.group.left > 0; first += shard {
		w.group.left--
		if err := w.pass(first, max(first, min(first+shard, last)), w.solver); err != nil {
			return err
		}
	}
	return nil
}

// Any number of peers, with gradients that add up over several passes, with a
// pass that is not full and with a peer that gets none, train like one process
// with the whole batch; and all end with the same bits.
func TestPeersTrainLikeOne(t *testing.T) {
	for name, newSolver := range solvers {
		for _, dtype := range []tensor.Dtype{tensor.Float64, tensor.Float32} {
			want, wantLoss := plain(t, dtype, newSolver())
			tolerance := 1e-12
			if dtype == tensor.Float32 {
				tolerance = 1e-4
				if strings.Contains(name, "SGD") || strings.Contains(name, "Momentum") || strings.Contains(name, "Nesterov") {
					tolerance = 1e-6
				}
			}
			for _, kind := range []string{tapeVM, tapeBound, tapeNodes, lisp} {
				for _, size := range []int{1, 2, 3, 5} {
					t.Run(fmt.Sprintf("%s/%v/%s/%d", name, dtype, kind, size), func(t *testing.T) {
						ws := trainTogether(t, dtype, kind, size, newSolver)
						for i, got := range ws[0].weights(t) {
							if math.IsNaN(got) || math.Abs(got-want[i]) > tolerance*(1+math.Abs(want[i])) {
								t.Fatalf("weight %d is %v, want %v", i, got, want[i])
							}
						}
						if got := ws[0].bridge.Metric("loss"); math.Abs(got-wantLoss) > 10*tolerance {
							t.Errorf("loss of the last step is %v, want %v", got, wantLoss)
						}
						for _, w := range ws {
							if s := w.bridge.Stats(); kind == tapeVM && (s.Early != 4*steps || s.Late+s.Held+s.Redone != 0) {
								t.Errorf("counted %+v, want %d early gradients and no others", s, 4*steps)
							}
							checkEqual(t, w, ws[0])
						}
					})
				}
			}
		}
	}
}

func trainTogether(t *testing.T, dtype tensor.Dtype, kind string, size int, newSolver func() gorgonia.Solver) []*worker {
	t.Helper()
	_, comms := newComms(t, size)
	ws, errs := make([]*worker, size), make([]error, size)
	for i := range ws {
		ws[i] = newWorker(t, netOptions{dtype: dtype, kind: kind, rows: shard, seed: 1}, newSolver(), comms[i])
	}
	together(size, func(i int) {
		for step := 0; step < steps && errs[i] == nil; step++ {
			errs[i] = ws[i].step(step, i, size)
		}
	})
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	return ws
}

func checkEqual(t *testing.T, a, b *worker) {
	t.Helper()
	if a.bridge.ParamsHash() != b.bridge.ParamsHash() || a.bridge.Metric("loss") != b.bridge.Metric("loss") {
		t.Errorf("two peers differ: loss %v and %v, parameters\n%v\n%v", a.bridge.Metric("loss"), b.bridge.Metric("loss"), a.weights(t), b.weights(t))
	}
	if got, want := a.bridge.Passes(), float64(steps)*batch/shard; math.Abs(got-want) > 1e-9 {
		t.Errorf("%v passes were counted, want %v", got, want)
	}
}

// A peer dies when the first bucket is reduced and the others are not. The
// gradients of those who are left are as they were, and their next ring finishes
// the step with them: to the same bits as if the third had never been.
func TestBrokenRingIsRetried(t *testing.T) {
	for _, kind := range []string{tapeVM, tapeBound, tapeNodes, lisp} {
		t.Run(kind, func(t *testing.T) {
			_, comms := newComms(t, 2)
			want := twoPeers(t, kind, comms, nil)
			mem, three := newComms(t, 3)
			_, two := newComms(t, 2)
			third := newWorker(t, netOptions{dtype: tensor.Float64, kind: kind, rows: shard, seed: 1}, solvers["Adam"]())
			died := make(chan struct{})
			go func() {
				defer close(died)
				x := firstBucket(third.bridge)
				if err := three[2].StartInto(x, x, allreduce.Sum, 1.0/6).Wait(t.Context()); err != nil {
					t.Errorf("the first bucket was not reduced: %v", err)
				}
				mem.Kill("p2")
			}()
			for i, w := range twoPeers(t, kind, three, two) {
				if got := w.bridge.ParamsHash(); got != want[0].bridge.ParamsHash() {
					t.Errorf("peer %d ends with %s, without the broken ring with %s", i, got, want[0].bridge.ParamsHash())
				}
			}
			<-died
		})
	}
}

func firstBucket(b *Bridge) allreduce.Vector {
	b.settle()
	return b.means().bucket(b.buckets[0]).vector()
}

// twoPeers does one step of two passes on ranks 0 and 1 of the first ring, and
// when that fails, on the second.
func twoPeers(t *testing.T, kind string, first, second []*allreduce.Comm) []*worker {
	t.Helper()
	ws, errs := make([]*worker, 2), make([]error, 2)
	for i := range ws {
		ws[i] = newWorker(t, netOptions{dtype: tensor.Float64, kind: kind, rows: shard, seed: 1}, solvers["Adam"](), first[i])
		if len(second) > 0 {
			ws[i].group.comms = append(ws[i].group.comms, second[i])
		}
	}
	together(2, func(i int) {
		w := ws[i]
		var before []float64
		failures := 0
		w.group.committing = func() { before = gradients(w) }
		w.group.failed = func(err error) {
			failures++
			w.group.weights.Total = 4
			if got := gradients(w); !errors.Is(err, ring.ErrBroken) || !slices.Equal(got, before) {
				errs[i] = fmt.Errorf("after %w the gradients are %v, were %v", err, got, before)
			}
		}
		w.group.weights = elastic.Weights{Mine: 2, Total: 2 * float64(first[i].Size())}
		for pass := range 2 {
			w.group.left = 1 - pass
			errs[i] = errors.Join(errs[i], w.pass(6*i+3*pass, 6*i+3*pass+3, w.solver))
		}
		if want := min(len(second), 1); failures != want || !slices.ContainsFunc(before, func(x float64) bool { return x != 0 }) {
			errs[i] = errors.Join(errs[i], fmt.Errorf("%d failures, want %d; gradients %v", failures, want, before))
		}
	})
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	return ws
}

// gradients returns what a peer would contribute.
func gradients(w *worker) []float64 {
	var out []float64
	for i := range w.bridge.grads {
		a := w.bridge.local(&w.bridge.grads[i])
		for i := range a.len() {
			out = append(out, a.at(i))
		}
	}
	return out
}

// A peer without whom the others have committed the step forgets its gradient:
// the next step is as if it had never been.
func TestStaleGradientIsForgotten(t *testing.T) {
	for _, kind := range []string{tapeVM, tapeBound, tapeNodes, lisp} {
		var hashes []string
		for _, stale := range []bool{false, true} {
			_, comms := newComms(t, 1)
			w := newWorker(t, netOptions{dtype: tensor.Float32, kind: kind, rows: shard, seed: 1}, solvers["SGD"](), comms[0])
			w.group.weights = elastic.Weights{Mine: 2, Total: 2}
			before := w.bridge.ParamsHash()
			if w.group.stale = stale; stale {
				twoPasses(t, w, 50)
				if got := w.bridge.ParamsHash(); got != before || w.bridge.Passes() != 0 {
					t.Errorf("%s: parameters changed without a step; %v passes counted", kind, w.bridge.Passes())
				}
			}
			w.group.stale = false
			twoPasses(t, w, 0)
			hashes = append(hashes, w.bridge.ParamsHash()+fmt.Sprint(w.bridge.Metric("loss")))
		}
		if hashes[0] != hashes[1] {
			t.Errorf("%s: after a forgotten step %s, without it %s", kind, hashes[1], hashes[0])
		}
	}
}

func twoPasses(t *testing.T, w *worker, first int) {
	t.Helper()
	for pass := range 2 {
		w.group.left = 1 - pass
		if err := w.pass(first+pass*shard, first+(pass+1)*shard, w.solver); err != nil {
			t.Fatal(err)
		}
	}
}

// A peer that has no samples in a step contributes zeros, whatever its pass left
// (a penalty on the weights, say, has a gradient without any row).
func TestPeerWithoutSamplesAddsNothing(t *testing.T) {
	_, comms := newComms(t, 2)
	_, one := newComms(t, 1)
	ws := make([]*worker, 3)
	errs := make([]error, 3)
	for i, c := range append(comms, one...) {
		ws[i] = newWorker(t, netOptions{dtype: tensor.Float32, kind: tapeBound, rows: shard, seed: 1}, solvers["Momentum"](), c)
		ws[i].group.weights = elastic.Weights{Mine: 1, Total: 1}
	}
	ws[1].group.weights.Mine = 0
	together(3, func(i int) { errs[i] = ws[i].pass(10*(i%2), 10*(i%2)+shard, ws[i].solver) })
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	for i, w := range ws[:2] {
		if w.bridge.ParamsHash() != ws[2].bridge.ParamsHash() || w.bridge.Metric("loss") != ws[2].bridge.Metric("loss") {
			t.Errorf("peer %d has loss %v and %v, one peer alone %v and %v", i, w.bridge.Metric("loss"), w.weights(t), ws[2].bridge.Metric("loss"), ws[2].weights(t))
		}
	}
}

type ownSolver struct{}

func (ownSolver) Step([]gorgonia.ValueGrad) error { return nil }

func TestSolverRefuses(t *testing.T) {
	_, comms := newComms(t, 1)
	fresh := func(s gorgonia.Solver) *worker {
		w := newWorker(t, netOptions{dtype: tensor.Float32, kind: tapeBound, rows: shard, seed: 1}, s, comms[0])
		w.group.weights = elastic.Weights{Mine: 1, Total: 1}
		return w
	}
	w := fresh(solvers["SGD"]())
	model := gorgonia.NodesToValueGrads(w.params)
	swapped := slices.Clone(model)
	swapped[0], swapped[1] = swapped[1], swapped[0]
	for _, tt := range []struct {
		name string
		err  error
		want string
	}{
		{"a solver of the user", fresh(ownSolver{}).pass(0, shard, fresh(ownSolver{}).solver), "bridge.ownSolver is none of Gorgonia's own solvers"},
		{"no solver", fresh(nil).solver.Step(model), "the solver is nil"},
		{"a second solver", w.bridge.Solver(solvers["Adam"]()).Step(model), "a second solver"},
		{"too few parameters", w.solver.Step(model[1:]), "Step got 4 parameters, 5 are attached"},
		{"another order", w.solver.Step(swapped), `as parameter 0, "w0" is attached there`},
		{"before the machine ran", w.solver.Step(model), `"w0" has no gradient`},
	} {
		if tt.err == nil || !strings.Contains(tt.err.Error(), tt.want) {
			t.Errorf("%s: error %v, want it to say %q", tt.name, tt.err, tt.want)
		}
	}
}
