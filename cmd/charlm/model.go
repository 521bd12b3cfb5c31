package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sync"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/ringrun/ringrun/gorgonia_bridge/blas"
)

// A shape says how large a model is.
type shape struct {
	context, embedding, hidden int
	symbols                    int
	sum                        uint32 // of the text
}

// A model is that of Bengio et al. (2003): the numbers that stand for the last
// characters, side by side, go through a hidden layer with ReLU into a softmax
// over all symbols.
type model struct {
	graph  *gorgonia.ExprGraph
	params gorgonia.Nodes
	logp   gorgonia.Value // rows×symbols logarithms of the probabilities, after a run
	loss   gorgonia.Value // mean over the rows in nats, after a run

	xs []int     // the memory of the inputs, rows×context symbols
	ys []float32 // and of the labels, rows×symbols

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
	m := &model{graph: gorgonia.NewGraph(), xs: make([]int, rows*s.context), ys: make([]float32, rows*s.symbols)}
	rng := rand.New(rand.NewPCG(seed, 'c'))
	x := m.node("x", m.xs, len(m.xs))
	y := m.node("y", m.ys, rows, s.symbols)
	// The sum in the name lets peers with other texts be refused.
	table := m.param(rng, fmt.Sprintf("embedding of text %08x", s.sum), 1, s.symbols, s.embedding)
	out, err := gorgonia.ByIndices(table, x, 0)
	if err == nil {
		out, err = gorgonia.Reshape(out, tensor.Shape{rows, s.context * s.embedding})
	}
	if err == nil {
		out, err = m.layer(rng, out, "0", s.hidden, math.Sqrt2)
	}
	if err == nil {
		out, err = gorgonia.Rectify(out)
	}
	if err == nil {
		out, err = m.layer(rng, out, "1", s.symbols, 1)
	}
	if err == nil {
		err = m.cost(out, y, rows, trained)
	}
	if err != nil {
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

func (m *model) node(name string, memory any, shape ...int) *gorgonia.Node {
	t := tensor.New(tensor.WithShape(shape...), tensor.WithBacking(memory))
	return gorgonia.NodeFromAny(m.graph, t, gorgonia.WithName(name))
}

func (m *model) param(rng *rand.Rand, name string, sigma float64, shape ...int) *gorgonia.Node {
	w := make([]float32, tensor.Shape(shape).TotalSize())
	for i := range w {
		w[i] = float32(sigma * rng.NormFloat64())
	}
	n := m.node(name, w, shape...)
	m.params = append(m.params, n)
	return n
}

// layer adds x·w+b.
func (m *model) layer(rng *rand.Rand, x *gorgonia.Node, name string, out int, gain float64) (*gorgonia.Node, error) {
	in := x.Shape()[1]
	xw, err := gorgonia.Mul(x, m.param(rng, "w"+name, gain/math.Sqrt(float64(in)), in, out))
	if err != nil {
		return nil, err
	}
	return gorgonia.BroadcastAdd(xw, m.param(rng, "b"+name, 0, 1, out), nil, []byte{0})
}

// cost adds the cross-entropy. Rows without a label count as rows, but add
// nothing.
func (m *model) cost(x, y *gorgonia.Node, rows int, trained bool) error {
	logp, err := gorgonia.LogSoftMax(x)
	if err != nil {
		return err
	}
	gorgonia.Read(logp, &m.logp)
	hits, err := gorgonia.HadamardProd(y, logp)
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

// with returns a model of the same parameters in a graph of its own, because
// machines on one graph disturb each other. The caller closes its machine.
func (s shape) with(params gorgonia.Nodes, rows int) (*model, error) {
	m, err := newModel(rows, s, 0, false)
	if err != nil {
		return nil, err
	}
	for i, p := range params {
		copy(m.params[i].Value().Data().([]float32), p.Value().Data().([]float32))
	}
	m.start(gorgonia.WithEngine(blas.Engine{}))
	return m, nil
}

// bits returns the bits per character that a model with these parameters needs
// for symbols it has not learned.
func (s shape) bits(params gorgonia.Nodes, symbols []byte) (float64, error) {
	const rows = 256
	m, err := s.with(params, rows)
	if err != nil {
		return 0, err
	}
	defer m.vm.Close()
	nats, count := 0.0, len(symbols)-s.context
	numbers := make([]int, 0, rows)
	for n := range count {
		if numbers = append(numbers, n); len(numbers) < rows && n < count-1 {
			continue
		}
		s.fill(symbols, m.xs, m.ys, numbers)
		if err := m.vm.RunAll(); err != nil {
			return 0, err
		}
		nats += float64(m.loss.Data().(float32)) * rows
		m.vm.Reset()
		numbers = numbers[:0]
	}
	return nats / float64(count) / math.Ln2, nil
}

// write lets a model with these parameters go on from a beginning, with each
// character drawn as probable as it thinks it is.
func (s shape) write(params gorgonia.Nodes, beginning []byte, n int, rng *rand.Rand) ([]byte, error) {
	m, err := s.with(params, 1)
	if err != nil {
		return nil, err
	}
	defer m.vm.Close()
	symbols := append([]byte(nil), beginning[:s.context]...)
	for range n {
		s.fill(append(symbols, 0), m.xs, m.ys, []int{len(symbols) - s.context})
		if err := m.vm.RunAll(); err != nil {
			return nil, err
		}
		symbols = append(symbols, draw(m.logp.Data().([]float32), rng))
		m.vm.Reset()
	}
	return symbols, nil
}

// draw returns an index by the logarithms of the probabilities.
func draw(logp []float32, rng *rand.Rand) byte {
	at := rng.Float64()
	for i, l := range logp {
		if at -= math.Exp(float64(l)); at < 0 {
			return byte(i)
		}
	}
	return byte(len(logp) - 1)
}
