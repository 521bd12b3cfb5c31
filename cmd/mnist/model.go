package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/ringrun/ringrun/gorgonia_bridge/blas"
)

// A shape says how a model is built: hidden dense layers, and before them, for a
// convolutional net, layers of 3×3 filters, each followed by 2×2 max pooling.
type shape struct {
	channels []int
	hidden   []int
}

// convChannels are the filters of -model conv.
var convChannels = []int{8, 16}

// A model is a classifier in a graph of its own: ReLU between the layers, softmax
// and cross-entropy at the end. Shapes in Gorgonia are static, so a graph takes a
// fixed number of rows.
type model struct {
	graph  *gorgonia.ExprGraph
	x, y   *gorgonia.Node // rows×784 (or rows×1×28×28) pixels, rows×10 one-hot labels
	params gorgonia.Nodes
	logp   gorgonia.Value // rows×10 logarithms of the probabilities, after a run
	loss   gorgonia.Value // mean over the rows, after a run

	xs, ys []float32 // the memory of x and y

	vm gorgonia.VM
}

// building is held while a graph is made: Gorgonia's graphs share some nodes and
// counters.
var building sync.Mutex

// newModel builds the graph, with gradients if it is to be trained. The same seed
// makes the same weights.
func newModel(rows int, s shape, seed uint64, trained bool) (*model, error) {
	building.Lock()
	defer building.Unlock()
	m := &model{graph: gorgonia.NewGraph(), xs: make([]float32, rows*imageBytes), ys: make([]float32, rows*classes)}
	m.y = m.input("y", m.ys, rows, classes)
	rng := rand.New(rand.NewPCG(seed, 'w'))
	out, err := m.features(rows, s.channels, rng)
	if err != nil {
		return nil, err
	}
	if out, err = m.dense(out, s.hidden, rng); err != nil {
		return nil, err
	}
	if err := m.cost(out, rows, trained); err != nil {
		return nil, err
	}
	return m, nil
}

// start makes the machine, which the caller closes.
func (m *model) start(opts ...gorgonia.VMOpt) {
	building.Lock()
	defer building.Unlock()
	m.vm = gorgonia.NewTapeMachine(m.graph, opts...)
}

func (m *model) input(name string, memory []float32, shape ...int) *gorgonia.Node {
	t := tensor.New(tensor.WithShape(shape...), tensor.WithBacking(memory))
	return gorgonia.NodeFromAny(m.graph, t, gorgonia.WithName(name))
}

// features is what the dense layers see: the pixels, or what convolutions make of
// them.
func (m *model) features(rows int, channels []int, rng *rand.Rand) (*gorgonia.Node, error) {
	if len(channels) == 0 {
		m.x = m.input("x", m.xs, rows, imageBytes)
		return m.x, nil
	}
	m.x = m.input("x", m.xs, rows, 1, side, side)
	out := m.x
	var err error
	for i, n := range channels {
		if out, err = m.convolution(out, fmt.Sprint("c", i), n, rng); err != nil {
			return nil, err
		}
	}
	return gorgonia.Reshape(out, tensor.Shape{rows, out.Shape().TotalSize() / rows})
}

// convolution adds 3×3 filters with a bias each, ReLU and 2×2 max pooling.
func (m *model) convolution(x *gorgonia.Node, name string, filters int, rng *rand.Rand) (*gorgonia.Node, error) {
	in := x.Shape()[1]
	w := m.input("w"+name, he(rng, filters*in*9, in*9), filters, in, 3, 3)
	b := m.input("b"+name, make([]float32, filters), 1, filters, 1, 1)
	m.params = append(m.params, w, b)
	x, err := blas.Conv2d(x, w, tensor.Shape{3, 3}, []int{1, 1}, []int{1, 1}, []int{1, 1})
	if err != nil {
		return nil, err
	}
	if x, err = gorgonia.BroadcastAdd(x, b, nil, []byte{0, 2, 3}); err != nil {
		return nil, err
	}
	if x, err = gorgonia.Rectify(x); err != nil {
		return nil, err
	}
	return blas.MaxPool2D(x, tensor.Shape{2, 2}, []int{0, 0}, []int{2, 2})
}

// dense adds the hidden layers and the one that tells the classes apart.
func (m *model) dense(x *gorgonia.Node, hidden []int, rng *rand.Rand) (*gorgonia.Node, error) {
	var err error
	for i, n := range append(slices.Clone(hidden), classes) {
		if i > 0 {
			if x, err = gorgonia.Rectify(x); err != nil {
				return nil, err
			}
		}
		if x, err = m.layer(x, fmt.Sprint(i), n, rng); err != nil {
			return nil, err
		}
	}
	return x, nil
}

// he returns He's initial weights: normal, of variance 2/in.
func he(rng *rand.Rand, n, in int) []float32 {
	weights := make([]float32, n)
	for i := range weights {
		weights[i] = float32(rng.NormFloat64() * math.Sqrt(2/float64(in)))
	}
	return weights
}

// layer adds x·w+b.
func (m *model) layer(x *gorgonia.Node, name string, out int, rng *rand.Rand) (*gorgonia.Node, error) {
	in := x.Shape()[1]
	w := m.input("w"+name, he(rng, in*out, in), in, out)
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
func accuracy(params gorgonia.Nodes, sh shape, s *samples) (float64, error) {
	rows := min(s.count(), 250)
	m, err := newModel(rows, sh, 0, false)
	if err != nil {
		return 0, err
	}
	for i, p := range params {
		copy(m.params[i].Value().Data().([]float32), p.Value().Data().([]float32))
	}
	m.start(gorgonia.WithEngine(blas.Engine{}))
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
