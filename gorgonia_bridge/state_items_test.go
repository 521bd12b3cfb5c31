package bridge

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/ringrun/ringrun/elastic"
)

// A counter is an item of a test.
type counter struct {
	n   uint64
	err error // of Load
}

func (c *counter) Save(w io.Writer) error { return binary.Write(w, binary.LittleEndian, c.n) }

func (c *counter) Load(r io.Reader) error {
	return errors.Join(binary.Read(r, binary.LittleEndian, &c.n), c.err)
}

func kept(t *testing.T, w *worker) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := w.bridge.group.(*keeper).Save(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// What the program keeps goes with the parameters; a state that does not fit is
// refused before anything changes.
func TestItems(t *testing.T) {
	o := netOptions{dtype: tensor.Float32, seed: 1}
	make1 := func(first uint64, names ...string) (*worker, []*counter) {
		w := alone(t, o, solvers["Adam"]())
		var items []*counter
		for i, name := range names {
			items = append(items, &counter{n: first + uint64(i)})
			if err := w.bridge.Keep(name, items[i]); err != nil {
				t.Fatal(err)
			}
		}
		return w, items
	}
	a, _ := make1(7, "one", "two")
	a.train(t, 0, 3)
	b, items := make1(100, "one", "two")
	state := kept(t, a)
	if err := b.bridge.group.(*keeper).Load(bytes.NewReader(state)); err != nil {
		t.Fatal(err)
	}
	if items[0].n != 7 || items[1].n != 8 || a.bridge.ParamsHash() != b.bridge.ParamsHash() || !bytes.Equal(kept(t, b), state) {
		t.Errorf("loaded %d and %d, want 7 and 8, and equal parameters", items[0].n, items[1].n)
	}
	for _, tt := range []struct {
		name  string
		names []string
		state []byte
		want  string
	}{
		{"fewer items", []string{"one"}, state, "2 items, here 1"},
		{"another name", []string{"one", "three"}, state, `item 1 is "two", here it is "three"`},
		{"truncated", []string{"one", "two"}, state[:20], "truncated"},
		{"a flipped bit", []string{"one", "two"}, append(bytes.Clone(state[:20]), append([]byte{state[20] ^ 1}, state[21:]...)...), "checksum"},
		{"the bridge's part truncated", []string{"one", "two"}, state[:len(state)-5], "truncated"},
		{"no items", []string{"one"}, a.save(t), "do all peers call Keep?"},
	} {
		w, items := make1(50, tt.names...)
		before := kept(t, w)
		err := w.bridge.group.(*keeper).Load(bytes.NewReader(tt.state))
		if !errors.Is(err, ErrState) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want ErrState that says %q", tt.name, err, tt.want)
		}
		if !bytes.Equal(kept(t, w), before) || items[0].n != 50 {
			t.Errorf("%s: the state changed although it was refused", tt.name)
		}
	}
	items[0].err = errFull
	if err := b.bridge.group.(*keeper).Load(bytes.NewReader(state)); !errors.Is(err, ErrState) || !errors.Is(err, errFull) {
		t.Errorf("an item refuses: error %v", err)
	}
}

func TestKeepRefuses(t *testing.T) {
	w := alone(t, netOptions{dtype: tensor.Float32, seed: 1}, solvers["Adam"]())
	if err := w.bridge.Keep("it", &counter{}); err != nil {
		t.Fatal(err)
	}
	for want, err := range map[string]error{
		"of nothing":            w.bridge.Keep("other", nil),
		`"it") was called`:      w.bridge.Keep("it", &counter{}),
		"a name of 0 bytes":     w.bridge.Keep("", &counter{}),
		"has no BatchNorm node": w.bridge.KeepNorms(w.graph),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want it to say %q", err, want)
		}
	}
}

// Peers that begin with other items get those of one of them.
func TestGroupSharesItems(t *testing.T) {
	items := make([]*counter, 3)
	errs := newCluster(t).start(len(items), func(i int, ctx context.Context, g *elastic.Group) error {
		w, err := attached(t, g, netOptions{dtype: tensor.Float32, kind: tapeBound, seed: uint64(1 + i)}, solvers["SGD"]())
		if err != nil {
			return err
		}
		items[i] = &counter{n: uint64(1000 * (1 + i))}
		if err := w.bridge.Keep("counter", items[i]); err != nil {
			return err
		}
		return trainShards(ctx, g, w, func(s elastic.Shard) error {
			if s.Last {
				items[i].n++
			}
			return nil
		})
	})
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	for i, c := range items {
		if c.n != items[0].n || c.n%1000 == 0 {
			t.Errorf("peer %d has counted to %d, peer 0 to %d", i, c.n, items[0].n)
		}
	}
}

const normMomentum = 0.25

// newNormNet normalises its input, and weighs it.
func newNormNet(t testing.TB, dtype tensor.Dtype, rows int) *net {
	t.Helper()
	building.Lock()
	defer building.Unlock()
	n := &net{dtype: dtype, kind: tapeBound, rows: rows, graph: gorgonia.NewGraph()}
	n.x, n.y = newArray(dtype, rows*inputs), newArray(dtype, rows*outputs)
	rng := rand.New(rand.NewPCG(4, 1))
	x, y := n.tensor("x", n.x, rows, inputs), n.tensor("y", n.y, rows, outputs)
	scale, shift := n.param("scale", rng, 1, inputs), n.param("shift", rng, 1, inputs)
	out, _, _, _, err := gorgonia.BatchNorm(x, scale, shift, normMomentum, 1e-5)
	if err != nil {
		t.Fatal(err)
	}
	out = gorgonia.Must(gorgonia.Mul(out, n.param("w", rng, inputs, outputs)))
	loss := gorgonia.Must(gorgonia.Mean(gorgonia.Must(gorgonia.Square(gorgonia.Must(gorgonia.Sub(out, y))))))
	gorgonia.Read(loss, &n.loss)
	if _, err := gorgonia.Grad(loss, n.params...); err != nil {
		t.Fatal(err)
	}
	n.vm = gorgonia.NewTapeMachine(n.graph, gorgonia.BindDualValues(n.params...))
	t.Cleanup(func() { n.vm.Close() })
	return n
}

func newNormWorkers(t *testing.T, dtype tensor.Dtype, size, rows int) []*worker {
	t.Helper()
	_, comms := newComms(t, size)
	ws := make([]*worker, size)
	for i := range ws {
		w := &worker{net: newNormNet(t, dtype, rows), group: &testGroup{comms: comms[i : i+1]}}
		var err error
		if w.bridge, err = attach(w.group, w.params); err != nil {
			t.Fatal(err)
		}
		if err := w.bridge.KeepNorms(w.graph); err != nil {
			t.Fatal(err)
		}
		w.solver = w.bridge.Solver(solvers["our Adam"]())
		ws[i] = w
	}
	return ws
}

func (w *worker) statistics(t testing.TB) []float64 {
	t.Helper()
	n, err := newNorms(w.graph)
	if err != nil {
		t.Fatal(err)
	}
	return n.kept
}

// The running statistics are the means over all peers of what each would make of
// the last ones, weighted like the gradient; a step that is not finite leaves them.
func TestNormsAreAveraged(t *testing.T) {
	const rows, size, steps, bad = 6, 3, 6, 3
	for _, dtype := range both {
		ws := newNormWorkers(t, dtype, size, rows)
		weights := []float64{2, 1, 0}
		want := slices.Concat(make([]float64, inputs), slices.Repeat([]float64{1}, inputs))
		for step := range steps {
			sum := make([]float64, 2*inputs)
			errs := make([]error, size)
			for i, w := range ws {
				w.group.weights = elastic.Weights{Mine: weights[i], Total: 3}
				w.fill(100*step+10*i, 100*step+10*i+rows)
				if step == bad && i == 1 {
					w.x.set(0, math.Inf(1))
				}
				for c, x := range w.running(want) {
					sum[c] += weights[i] / 3 * x
				}
			}
			together(size, func(i int) { errs[i] = ws[i].run(ws[i].solver) })
			if err := errors.Join(errs...); err != nil {
				t.Fatal(err)
			}
			for c, x := range sum {
				if !math.IsNaN(x) && !math.IsInf(x, 0) {
					want[c] = x
				}
			}
			tolerance := 1e-12
			if dtype == tensor.Float32 {
				tolerance = 1e-5
			}
			for i, w := range ws {
				got := w.statistics(t)
				for c := range got {
					if !(math.Abs(got[c]-want[c]) <= tolerance*(1+math.Abs(want[c]))) {
						t.Fatalf("%v, step %d, peer %d: statistic %d is %v, want %v", dtype, step, i, c, got[c], want[c])
					}
				}
				if !bytes.Equal(kept(t, w), kept(t, ws[0])) {
					t.Fatalf("%v, step %d: peers 0 and %d keep other states", dtype, step, i)
				}
			}
		}
	}
}

// running returns what a pass over the rows makes of the running statistics.
func (n *net) running(old []float64) []float64 {
	out := make([]float64, 2*inputs)
	rows := float64(n.rows)
	for c := range inputs {
		var mean, variance float64
		for r := range n.rows {
			mean += n.x.at(r*inputs+c) / rows
		}
		for r := range n.rows {
			d := n.x.at(r*inputs+c) - mean
			variance += d * d / (rows - 1)
		}
		out[c] = normMomentum*mean + (1-normMomentum)*old[c]
		out[inputs+c] = normMomentum*variance + (1-normMomentum)*old[inputs+c]
	}
	return out
}

// A pass that is not committed yet does not show in the state, and if it never
// is, not in the statistics either. A newcomer gets them, and so does a graph that
// evaluates.
func TestNormsOfCommittedSteps(t *testing.T) {
	w := newNormWorkers(t, tensor.Float32, 1, 4)[0]
	w.group.weights = elastic.Weights{Mine: 1, Total: 1}
	for step := range 3 {
		if err := w.pass(10*step, 10*step+4, w.solver); err != nil {
			t.Fatal(err)
		}
	}
	state, stats := kept(t, w), w.statistics(t)
	w.group.stale = true
	w.fill(90, 94)
	if err := w.vm.RunAll(); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(kept(t, w), state) || slices.Equal(w.statistics(t), stats) {
		t.Errorf("after a pass the statistics are %v, before it %v, and the state has changed or they have not", w.statistics(t), stats)
	}
	if err := w.solver.Step(gorgonia.NodesToValueGrads(w.params)); err != nil {
		t.Fatal(err)
	}
	if got := w.statistics(t); !slices.Equal(got, stats) {
		t.Errorf("after a step that does not count the statistics are %v, before it %v", got, stats)
	}
	newcomer := newNormWorkers(t, tensor.Float32, 1, 4)[0]
	if err := newcomer.bridge.group.(*keeper).Load(bytes.NewReader(state)); err != nil {
		t.Fatal(err)
	}
	if got := newcomer.statistics(t); !slices.Equal(got, stats) {
		t.Errorf("a newcomer has statistics %v, want %v", got, stats)
	}
	eval := newNormNet(t, tensor.Float32, 1)
	if err := CopyNorms(eval.graph, w.graph); err != nil {
		t.Fatal(err)
	}
	if got := (&worker{net: eval}).statistics(t); !slices.Equal(got, stats) {
		t.Errorf("the copy has statistics %v, want %v", got, stats)
	}
	if err := CopyNorms(eval.graph, gorgonia.NewGraph()); err == nil {
		t.Error("statistics of a graph that has none were copied")
	}
	if err := newcomer.bridge.group.(*keeper).norms.Load(strings.NewReader(fmt.Sprint("short"))); err == nil {
		t.Error("5 bytes were taken for statistics")
	}
}
