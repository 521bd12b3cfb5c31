package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sync"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// A model is a multilayer perceptron in a graph of its own: ReLU between the
// layers, softmax and cross-entropy at the end. Shapes in Gorgonia are static,
// so a graph takes a fixed number of rows.
type model struct {
	graph  *gorgonia.ExprGraph
	x, y   *gorgonia.Node // rows×784 pixels, rows×10 one-hot labels
	params gorgonia.Nodes
	logp   gorgonia.Value // rows×10 logarithms of the probabilities, after a run
	loss   gorgonia.Value // mean over the rows, after a run

	xs, ys []float32 // the memory of x and y

	vm gorgonia.VM
}

// building is held while a graph is made: Gorgonia's graphs share some nodes and
// counters.
var building sync.Mutex

// newModel builds the graph, with gradients if it is to be trained, and its
// machine, which the caller closes. The same seed makes the same weights.
func newModel(rows int, hidden []int, seed uint64, trained bool) (*model, error) {
	building.Lock()
	defer building.Unlock()
	m := &model{graph: gorgonia.NewGraph(), xs: make([]float32, rows*imageBytes), ys: make([]float32, rows*classes)}
	m.x = m.input("x", m.xs, rows, imageBytes)
	m.y = m.input("y", m.ys, rows, classes)
	rng := rand.New(rand.NewPCG(seed, 'w'))
	out, width := m.x, imageBytes
	for i, n := range append(append([]int(nil), hidden...), classes) {
		if i > 0 {
			var err error
			if out, err = gorgonia.Rectify(out); err != nil {
				return nil, err
			}
		}
		var err error
		if out, err = m.layer(out, fmt.Sprint(i), width, n, rng); err != nil {
			return nil, err
		}
		width = n
	}
	if err := m.cost(out, rows, trained); err != nil {
		return nil, err
	}
	var opts []gorgonia.VMOpt
	if trained {
		opts = append(opts, gorgonia.BindDualValues(m.params...))
	}
	m.vm = gorgonia.NewTapeMachine(m.graph, opts...)
	return m, nil
}

func (m *model) input(name string, memory []float32, shape ...int) *gorgonia.Node {
	t := tensor.New(tensor.WithShape(shape...), tensor.WithBacking(memory))
	return gorgonia.NodeFromAny(m.graph, t, gorgonia.WithName(name))
}

// layer adds x·w+b. The weights are He's: normal, of variance 2/in.
func (m *model) layer(x *gorgonia.Node, name string, in, out int, rng *rand.Rand) (*gorgonia.Node, error) {
	weights := make([]float32, in*out)
	for i := range weights {
		weights[i] = float32(rng.NormFloat64() * math.Sqrt(2/float64(in)))
	}
	w := m.input("w"+name, weights, in, out)
	b := m.input("b"+name, make([]float32, out), 1, out)
	m.params = append(m.params, w, b)
	xw, err := gorgonia.Mul(x, w)
	if err != nil {
		return nil, err
	}
	return gorgonia.BroadcastAdd(xw, b, nil, []byte{0})
}

// cost adds the cross-entropy -Σ y·log softmax(x) / rows. Rows without a label
// count as rows, but add nothing.
func (m *model) cost(x *gorgonia.Node, rows int, trained bool) error {
	logp, err := gorgonia.LogSoftMax(x)
	if err != nil {
		return err
	}
	gorgonia.Read(logp, &m.logp)
	hits, err := gorgonia.HadamardProd(m.y, logp)
	if err != nil {
		return err
	}
	sum, err := gorgonia.Sum(hits)
	if err != nil {
		return err
	}
	loss, err := gorgonia.Mul(sum, gorgonia.NewConstant(-1/float32(rows)))
	if err != nil {
		return err
	}
	gorgonia.Read(loss, &m.loss)
	if trained {
		_, err = gorgonia.Grad(loss, m.params...)
	}
	return err
}

// accuracy returns the share of the samples that a model with these parameters
// gets right. It works in a graph of its own, because machines on one graph
// disturb each other.
func accuracy(params gorgonia.Nodes, hidden []int, s *samples) (float64, error) {
	rows := min(s.count(), 250)
	m, err := newModel(rows, hidden, 0, false)
	if err != nil {
		return 0, err
	}
	for i, p := range params {
		copy(m.params[i].Value().Data().([]float32), p.Value().Data().([]float32))
	}
	defer m.vm.Close()
	right := 0
	for lo := 0; lo < s.count(); lo += rows {
		numbers := sequence(lo, min(lo+rows, s.count()))
		s.fill(m.xs, m.ys, numbers)
		if err := m.vm.RunAll(); err != nil {
			return 0, err
		}
		logp := m.logp.Data().([]float32)
		for row, n := range numbers {
			if argmax(logp[row*classes:(row+1)*classes]) == int(s.labels[n]) {
				right++
			}
		}
		m.vm.Reset()
	}
	return float64(right) / float64(s.count()), nil
}

func sequence(lo, hi int) []int {
	s := make([]int, hi-lo)
	for i := range s {
		s[i] = lo + i
	}
	return s
}

func argmax(x []float32) int {
	best := 0
	for i, v := range x {
		if v > x[best] {
			best = i
		}
	}
	return best
}
