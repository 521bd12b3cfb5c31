package bridge

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/ringrun/ringrun/elastic"
)

// pair makes two peers of one pass a step, with the option VM.
func pair(t *testing.T, o netOptions, opts ...Option) []*worker {
	t.Helper()
	_, comms := newComms(t, 2)
	o.kind, o.rows, o.seed = tapeVM, shard, 1
	ws := make([]*worker, 2)
	for i := range ws {
		ws[i] = newWorker(t, o, solvers["Momentum"](), comms[i])
		ws[i].group.weights = elastic.Weights{Mine: 1, Total: 2}
	}
	return ws
}

// both runs the same on two peers.
func onBoth(t *testing.T, ws []*worker, f func(i int, w *worker) error) {
	t.Helper()
	errs := make([]error, len(ws))
	together(len(ws), func(i int) { errs[i] = f(i, ws[i]) })
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func equalEnds(t *testing.T, ws []*worker) {
	t.Helper()
	if ws[0].bridge.ParamsHash() != ws[1].bridge.ParamsHash() {
		t.Errorf("peers end with %v and %v", ws[0].weights(t), ws[1].weights(t))
	}
}

// When RunAll returns, the buckets of all tensors are on their way.
func TestGradientsAreStartedByTheMachine(t *testing.T) {
	ws := pair(t, netOptions{dtype: tensor.Float32})
	onBoth(t, ws, func(i int, w *worker) error {
		for step := range 5 {
			w.fill(6*step+3*i, 6*step+3*i+3)
			if err := w.vm.RunAll(); err != nil {
				return err
			}
			if got, want := len(w.bridge.flight.works), len(w.bridge.buckets); got != want || want < 2 {
				return fmt.Errorf("step %d: %d of %d buckets were started by the machine", step, got, want)
			}
			if err := w.solver.Step(gorgonia.NodesToValueGrads(w.params)); err != nil {
				return err
			}
			w.vm.Reset()
		}
		if s := w.bridge.Stats(); s.Early != 20 || s.Held+s.Late+s.Redone != 0 || s.Steps != 5 || s.Comm <= 0 || s.Exposed > s.Comm {
			return fmt.Errorf("counted %+v, want 20 early gradients in 5 steps", s)
		}
		return nil
	})
	equalEnds(t, ws)
}

// A machine that runs twice before Step adds up gradients, as in Gorgonia; on
// one peer it does so, on the other NoSync says so, and a third way is passes of
// the group. All come to the same.
func TestMachineRunsTwice(t *testing.T) {
	ways := map[string]func(w *worker, first, second int) error{
		"twice": func(w *worker, first, second int) error {
			w.fill(first, first+shard)
			if err := w.vm.RunAll(); err != nil {
				return err
			}
			w.vm.Reset()
			return w.pass(second, second+shard, w.solver)
		},
		"NoSync": func(w *worker, first, second int) error {
			w.fill(first, first+shard)
			if err := w.bridge.NoSync(w.vm.RunAll); err != nil {
				return err
			}
			w.vm.Reset()
			return w.pass(second, second+shard, w.solver)
		},
		"passes": func(w *worker, first, second int) error {
			w.group.left = 1
			if err := w.pass(first, first+shard, w.solver); err != nil {
				return err
			}
			w.group.left = 0
			return w.pass(second, second+shard, w.solver)
		},
	}
	var want string
	for _, way := range [][2]string{{"passes", "passes"}, {"NoSync", "NoSync"}, {"twice", "twice"}, {"twice", "NoSync"}, {"passes", "twice"}} {
		ws := pair(t, netOptions{dtype: tensor.Float64, noScalar: true})
		onBoth(t, ws, func(i int, w *worker) error {
			w.group.weights = elastic.Weights{Mine: 2, Total: 4}
			for step := range 4 {
				if err := ways[way[i]](w, 12*step+6*i, 12*step+6*i+3); err != nil {
					return err
				}
			}
			return nil
		})
		equalEnds(t, ws)
		hash := ws[0].bridge.ParamsHash()
		if want == "" {
			want = hash
		}
		if hash != want {
			t.Errorf("%v end with %s, want %s", way, hash, want)
		}
		redone := uint64(0)
		if slices.Contains(way[:], "twice") {
			redone = 1 // then the peers know
		}
		for i, w := range ws {
			if s := w.bridge.Stats(); s.Redone != redone {
				t.Errorf("%v: peer %d has reduced %d steps twice, want %d", way, i, s.Redone, redone)
			}
		}
	}
}

// A machine stops in the middle of a pass, and the loop runs the batch again:
// without Forget that is an error, with it the step is as if nothing had been.
func TestMachineStops(t *testing.T) {
	var hashes []string
	for _, stops := range []bool{false, true} {
		ws := pair(t, netOptions{dtype: tensor.Float32})
		onBoth(t, ws, func(i int, w *worker) error {
			for step := range 3 {
				if lo := 6*step + 3*i; stops && i == 0 && step == 1 {
					w.fill(lo, lo+shard)
					if err := stopInPass(w); err != nil {
						return err
					}
					if err := w.pass(lo, lo+shard, w.solver); err == nil || !strings.Contains(err.Error(), "call Forget") {
						return fmt.Errorf("error %v, want it to say Forget", err)
					}
					w.bridge.Forget()
					w.vm.Reset()
				}
				if err := w.pass(6*step+3*i, 6*step+3*i+shard, w.solver); err != nil {
					return err
				}
			}
			return nil
		})
		equalEnds(t, ws)
		hashes = append(hashes, ws[0].bridge.ParamsHash())
	}
	if hashes[0] != hashes[1] {
		t.Errorf("after a stop %s, without one %s", hashes[1], hashes[0])
	}
}

// stopInPass lets the first gradients of a pass come, and no others.
func stopInPass(w *worker) error {
	g := &w.bridge.grads[w.bridge.places[0].param]
	d := g.slots[w.bridge.home]
	junk := tensor.New(tensor.WithShape(d.Shape()...), tensor.Of(d.Dtype()))
	if err := junk.Memset(float32(7)); err != nil {
		return err
	}
	_, err := tensor.Add(d, junk, tensor.UseUnsafe())
	return err
}

func TestMisuseIsNamed(t *testing.T) {
	one := func() *worker {
		_, comms := newComms(t, 1)
		w := newWorker(t, netOptions{dtype: tensor.Float32, kind: tapeVM, rows: shard, seed: 1}, solvers["SGD"](), comms[0])
		w.group.weights = elastic.Weights{Mine: 1, Total: 1}
		return w
	}
	noReset := one()
	noReset.fill(0, shard)
	for range 2 {
		if err := noReset.vm.RunAll(); err != nil {
			t.Fatal(err)
		}
		if err := noReset.solver.Step(gorgonia.NodesToValueGrads(noReset.params)); err == nil {
			continue
		} else if !errors.Is(err, errNotRun) {
			t.Errorf("without Reset: %v", err)
		} else {
			noReset = nil
		}
	}
	if noReset != nil {
		t.Error("no error without Reset")
	}
	n := newNet(t, netOptions{dtype: tensor.Float32, kind: lisp, rows: shard, seed: 1}) // no Grad
	b, err := attach(&testGroup{}, n.params)
	if err != nil {
		t.Fatal(err)
	}
	gorgonia.NewTapeMachine(n.graph, b.VM())
	if err := b.Solver(solvers["SGD"]()).Step(gorgonia.NodesToValueGrads(n.params)); err == nil || !strings.Contains(err.Error(), "call gorgonia.Grad before") {
		t.Errorf("VM before Grad: %v", err)
	}
}

// Evaluating on the training graph turns its dropout off for good.
func TestEvalModeOnTheGraphIsRefused(t *testing.T) {
	building.Lock()
	g := gorgonia.NewGraph()
	w := gorgonia.NodeFromAny(g, tensor.New(tensor.WithShape(2, 2), tensor.WithBacking([]float32{1, 2, 3, 4})), gorgonia.WithName("w"))
	loss := gorgonia.Must(gorgonia.Sum(gorgonia.Must(gorgonia.Dropout(gorgonia.Must(gorgonia.Square(w)), 0.5))))
	if _, err := gorgonia.Grad(loss, w); err != nil {
		t.Fatal(err)
	}
	_, comms := newComms(t, 1)
	group := &testGroup{comms: comms, weights: elastic.Weights{Mine: 1, Total: 1}}
	b, err := attach(group, gorgonia.Nodes{w})
	if err != nil {
		t.Fatal(err)
	}
	vm := gorgonia.NewTapeMachine(g, b.VM())
	building.Unlock()
	s := b.Solver(solvers["SGD"]())
	step := func() error {
		if err := vm.RunAll(); err != nil {
			return err
		}
		defer vm.Reset()
		return s.Step(gorgonia.NodesToValueGrads(gorgonia.Nodes{w}))
	}
	if err := step(); err != nil {
		t.Fatal(err)
	}
	gorgonia.NewTapeMachine(g) // takes the engine away: that step is late
	if err := step(); err != nil {
		t.Fatal(err)
	}
	if err := step(); err != nil {
		t.Fatal(err)
	}
	if got := b.Stats(); got.Early != 2 || got.Late != 1 {
		t.Errorf("counted %v, want 2 early and 1 late", got)
	}
	gorgonia.NewTapeMachine(g, gorgonia.EvalMode())
	if err := step(); err == nil || !strings.Contains(err.Error(), "EvalMode") {
		t.Errorf("error %v, want it to say EvalMode", err)
	}
}

// A second machine on the graph makes gradients late in one step, except for those
// of products, and no step wrong.
func TestSecondMachineIsLateNotWrong(t *testing.T) {
	var hashes []string
	for _, disturb := range []bool{false, true} {
		ws := pair(t, netOptions{dtype: tensor.Float32})
		onBoth(t, ws, func(i int, w *worker) error {
			for step := range 4 {
				if disturb && i == 1 && step == 2 {
					building.Lock()
					gorgonia.NewTapeMachine(w.graph)
					building.Unlock()
				}
				if err := w.pass(6*step+3*i, 6*step+3*i+shard, w.solver); err != nil {
					return err
				}
			}
			return nil
		})
		equalEnds(t, ws)
		hashes = append(hashes, ws[0].bridge.ParamsHash())
		if s := ws[1].bridge.Stats(); disturb && (s.Late != 2 || s.Early+s.Held != 14) {
			t.Errorf("counted %+v, want 2 late gradients of 16", s)
		}
	}
	if hashes[0] != hashes[1] {
		t.Errorf("with another machine %s, without %s", hashes[1], hashes[0])
	}
}

// A loop without a solver sees the means as gradients, and zeros afterwards.
func TestStepWithoutSolver(t *testing.T) {
	for _, kind := range []string{tapeVM, tapeBound} {
		_, comms := newComms(t, 2)
		ws := make([]*worker, 2)
		got := make([][]float64, 2)
		for i := range ws {
			ws[i] = newWorker(t, netOptions{dtype: tensor.Float32, kind: kind, rows: shard, seed: 1}, solvers["SGD"](), comms[i])
			ws[i].group.weights = elastic.Weights{Mine: 1, Total: 2}
		}
		onBoth(t, ws, func(i int, w *worker) error {
			w.fill(10*i, 10*i+shard)
			if err := w.vm.RunAll(); err != nil {
				return err
			}
			return w.bridge.Step(func() error {
				got[i] = gradientsOf(w)
				return nil
			})
		})
		if !slices.Equal(got[0], got[1]) || !slices.ContainsFunc(got[0], func(x float64) bool { return x != 0 }) {
			t.Errorf("%s: means are %v and %v", kind, got[0], got[1])
		}
		if after := gradientsOf(ws[0]); slices.ContainsFunc(after, func(x float64) bool { return x != 0 }) {
			t.Errorf("%s: gradients are %v after the step", kind, after)
		}
	}
}

func gradientsOf(w *worker) []float64 {
	var out []float64
	for _, p := range w.bridge.params {
		if _, a, err := p.grad(); err == nil {
			for i := range a.len() {
				out = append(out, a.at(i))
			}
		}
	}
	return out
}

// A graph for every step: the same parameters, values and solver go on.
func TestGraphIsRebuilt(t *testing.T) {
	var hashes []string
	for _, rebuild := range []bool{false, true} {
		ws := pair(t, netOptions{dtype: tensor.Float64})
		onBoth(t, ws, func(i int, w *worker) error {
			for step := range 4 {
				if rebuild && step > 0 {
					if err := w.rebuild(t); err != nil {
						return err
					}
				}
				if err := w.pass(6*step+3*i, 6*step+3*i+shard, w.solver); err != nil {
					return err
				}
			}
			return nil
		})
		equalEnds(t, ws)
		hashes = append(hashes, ws[0].bridge.ParamsHash())
		if s := ws[0].bridge.Stats(); s.Early != 16 {
			t.Errorf("rebuilt %t: counted %+v, want 16 early gradients", rebuild, s)
		}
	}
	if hashes[0] != hashes[1] {
		t.Errorf("with new graphs %s, with one %s", hashes[1], hashes[0])
	}
}

// rebuild makes a new graph with the values of the old one.
func (w *worker) rebuild(t *testing.T) error {
	n := newNet(t, netOptions{dtype: w.dtype, kind: tapeVM, rows: w.rows, seed: 9})
	for i, p := range n.params {
		from, _ := arrayOf(w.params[i].Value())
		if to, err := arrayOf(p.Value()); err != nil {
			return err
		} else {
			to.copyFrom(from)
			to.store(p.Value())
		}
	}
	if err := w.bridge.Rebind(n.params); err != nil {
		return err
	}
	n.machine(t, w.bridge)
	w.net = n
	return nil
}

// What does not belong to the model of the bridge cannot take its place.
func TestRebindRefuses(t *testing.T) {
	w := alone(t, netOptions{dtype: tensor.Float32, seed: 1}, solvers["SGD"]())
	other := newNet(t, netOptions{dtype: tensor.Float32, kind: tapeBound, rows: shard, seed: 1, hidden: 6})
	for want, params := range map[string]gorgonia.Nodes{
		"has 4 parameters, the old one 5":             w.params[1:],
		`parameter 0 of the new graph is "w0" (5, 6)`: other.params,
	} {
		if err := w.bridge.Rebind(params); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want it to say %q", err, want)
		}
	}
}

// Parameters that are not trained are in the state and in nothing else.
func TestFrozenParameters(t *testing.T) {
	_, comms := newComms(t, 1)
	n := newNet(t, netOptions{dtype: tensor.Float32, kind: tapeVM, rows: shard, seed: 1})
	group := &testGroup{comms: comms, weights: elastic.Weights{Mine: 1, Total: 1}}
	trained := n.params[2:]
	b, err := attach(group, trained, Frozen(n.params[:2]...))
	if err != nil {
		t.Fatal(err)
	}
	n.machine(t, b)
	s := b.Solver(solvers["SGD"]())
	n.fill(0, shard)
	before := n.weights(t)
	if err := errors.Join(n.vm.RunAll(), s.Step(gorgonia.NodesToValueGrads(trained))); err != nil {
		t.Fatal(err)
	}
	frozen := 5*4 + 4
	if got := n.weights(t); !slices.Equal(got[:frozen], before[:frozen]) || slices.Equal(got[frozen:], before[frozen:]) {
		t.Errorf("parameters are %v, were %v", got, before)
	}
	var state bytes.Buffer
	if err := b.Save(&state); err != nil {
		t.Fatal(err)
	}
	want := n.weights(t)
	for _, p := range n.params {
		if v, ok := p.Value().(*tensor.Dense); ok {
			v.Zero()
		}
	}
	if err := b.Load(&state); err != nil || !slices.Equal(n.weights(t), want) {
		t.Errorf("loaded %v, %v, want %v", n.weights(t), err, want)
	}
	if _, err := attach(group, trained, Frozen(trained[0])); err == nil || !strings.Contains(err.Error(), "are both named") {
		t.Errorf("a parameter both trained and frozen: %v", err)
	}
}
