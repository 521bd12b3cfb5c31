package bridge

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/ringrun/ringrun/elastic"
)

const (
	convSide    = 6
	convFilters = 3
	convBatch   = 12 // in a step, over all peers
)

// newConvNet is a small convolutional net: 3×3 filters with a bias each, max
// pooling, and a dense layer. Its loss is like that of newNet.
func newConvNet(t testing.TB, dtype tensor.Dtype, rows int) *net {
	t.Helper()
	building.Lock()
	defer building.Unlock()
	n := &net{dtype: dtype, kind: tapeBound, rows: rows, graph: gorgonia.NewGraph()}
	n.x, n.y = newArray(dtype, rows*convSide*convSide), newArray(dtype, rows*outputs)
	rng := rand.New(rand.NewPCG(4, 1))
	x, y := n.tensor("x", n.x, rows, 1, convSide, convSide), n.tensor("y", n.y, rows, outputs)
	w, b := n.param("filters", rng, convFilters, 1, 3, 3), n.param("bias", rng, 1, convFilters, 1, 1)
	out := gorgonia.Must(gorgonia.Conv2d(x, w, tensor.Shape{3, 3}, []int{1, 1}, []int{1, 1}, []int{1, 1}))
	out = gorgonia.Must(gorgonia.BroadcastAdd(out, b, nil, []byte{0, 2, 3}))
	out = gorgonia.Must(gorgonia.MaxPool2D(gorgonia.Must(gorgonia.Tanh(out)), tensor.Shape{2, 2}, []int{0, 0}, []int{2, 2}))
	features := out.Shape().TotalSize() / rows
	out = gorgonia.Must(gorgonia.Reshape(out, tensor.Shape{rows, features}))
	dense := n.param("dense", rng, features, outputs)
	if a, err := arrayOf(dense.Value()); err == nil {
		for i := range a.len() {
			a.set(i, 0.3*a.at(i)) // or training is unstable, and amplifies rounding
		}
	}
	out = gorgonia.Must(gorgonia.Mul(out, dense))
	miss := gorgonia.Must(gorgonia.Sub(gorgonia.Must(gorgonia.HadamardProd(y, out)), y))
	sum := gorgonia.Must(gorgonia.Sum(gorgonia.Must(gorgonia.Square(miss))))
	factor := any(1 / float64(rows))
	if dtype == tensor.Float32 {
		factor = float32(1 / float64(rows))
	}
	loss := gorgonia.Must(gorgonia.Mul(sum, gorgonia.NewConstant(factor)))
	gorgonia.Read(loss, &n.loss)
	if _, err := gorgonia.Grad(loss, n.params...); err != nil {
		t.Fatal(err)
	}
	return n
}

// start makes the machine of a net that has none.
func (n *net) start(t testing.TB, opt gorgonia.VMOpt) {
	n.vm = gorgonia.NewTapeMachine(n.graph, opt)
	t.Cleanup(func() { n.vm.Close() })
}

// convPass trains with as many images as there are rows.
func (n *net) convPass(first int, s gorgonia.Solver) error {
	n.y.zero()
	pixels := n.x.len() / n.rows
	for row := range n.rows {
		rng := rand.New(rand.NewPCG(uint64(first+row), 2))
		for i := range pixels {
			n.x.set(row*pixels+i, rng.NormFloat64())
		}
		n.y.set(row*outputs+rng.IntN(outputs), 1)
	}
	return n.run(s)
}

// Peers with an even part of the batch each train a convolutional net like one
// with all of it, with every solver, and all end with the same bits.
func TestPeersTrainConvNetsLikeOne(t *testing.T) {
	for name, newSolver := range solvers {
		for _, dtype := range both {
			tolerance := toleranceOf(name, dtype)
			alone := newConvNet(t, dtype, convBatch)
			alone.start(t, gorgonia.BindDualValues(alone.params...))
			s := newSolver()
			for step := range steps {
				if err := alone.convPass(step*convBatch, s); err != nil {
					t.Fatal(err)
				}
			}
			want := alone.weights(t)
			for size, hidden := range map[int]bool{2: true, 3: true, 4: false} {
				t.Run(fmt.Sprintf("%s/%v/%d", name, dtype, size), func(t *testing.T) {
					ws := trainConvNets(t, dtype, size, hidden, newSolver)
					for i, got := range ws[0].weights(t) {
						if math.IsNaN(got) || math.Abs(got-want[i]) > tolerance*(1+math.Abs(want[i])) {
							t.Fatalf("weight %d is %v, want %v", i, got, want[i])
						}
					}
					for _, w := range ws {
						if w.bridge.ParamsHash() != ws[0].bridge.ParamsHash() {
							t.Errorf("two peers differ:\n%v\n%v", w.weights(t), ws[0].weights(t))
						}
						if late := w.bridge.Stats().Late; (late == 0) != hidden {
							t.Errorf("%d gradients were late, with the option VM: %t", late, hidden)
						}
					}
				})
			}
		}
	}
}

// toleranceOf is how far many may be from one after the steps of a test.
func toleranceOf(solver string, dtype tensor.Dtype) float64 {
	switch {
	case dtype == tensor.Float64:
		return 1e-12
	case strings.Contains(solver, "SGD"), strings.Contains(solver, "Momentum"), strings.Contains(solver, "Nesterov"):
		return 1e-6
	}
	return 1e-4
}

// trainConvNets trains the peers; hidden: communication behind the backward pass.
func trainConvNets(t *testing.T, dtype tensor.Dtype, size int, hidden bool, newSolver func() gorgonia.Solver) []*worker {
	t.Helper()
	_, comms := newComms(t, size)
	rows := convBatch / size
	ws, errs := make([]*worker, size), make([]error, size)
	for i := range ws {
		w := &worker{net: newConvNet(t, dtype, rows), group: &testGroup{comms: comms[i : i+1]}}
		w.group.weights = elastic.Weights{Mine: 1, Total: float64(size)}
		if w.bridge, errs[i] = attach(w.group, w.params, BucketBytes(64, 200)); errs[i] != nil {
			t.Fatal(errs[i])
		}
		w.solver = w.bridge.Solver(newSolver())
		if ws[i] = w; hidden {
			w.start(t, w.bridge.VM())
		} else {
			w.start(t, gorgonia.BindDualValues(w.params...))
		}
	}
	together(size, func(i int) {
		for step := 0; step < steps && errs[i] == nil; step++ {
			errs[i] = ws[i].convPass(step*convBatch+i*rows, ws[i].solver)
		}
	})
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	return ws
}
