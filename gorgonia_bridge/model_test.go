package bridge

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/ringrun/ringrun/allreduce"
	"github.com/ringrun/ringrun/elastic"
	"github.com/ringrun/ringrun/ring"
	"github.com/ringrun/ringrun/ring/ringtest"
)

// How a test's model is run.
const (
	tapeBound = "tape" // gradients bound to the parameters
	tapeNodes = "tape without BindDualValues"
	tapeVM    = "tape with VM" // gradients are taken while it runs
	lisp      = "lisp"
)

const (
	inputs  = 5
	outputs = 3
)

// A net is a small perceptron: two layers with biases, all scaled by a scalar.
// Its loss is the mean over the rows of (1 - out)² where the label is; empty rows
// add nothing. (Not LogSoftMax: the Lisp machine gets that wrong when it runs a
// second time on one graph.)
type net struct {
	dtype  tensor.Dtype
	kind   string
	rows   int
	graph  *gorgonia.ExprGraph
	x, y   array
	params gorgonia.Nodes
	loss   gorgonia.Value
	vm     gorgonia.VM
}

type netOptions struct {
	dtype    tensor.Dtype
	kind     string
	rows     int
	seed     uint64
	noScalar bool // some solvers cannot train scalars
	hidden   int  // default 4
}

// building graphs races on nodes that Gorgonia shares between them.
var building sync.Mutex

func newNet(t testing.TB, o netOptions) *net {
	t.Helper()
	building.Lock()
	defer building.Unlock()
	if o.hidden == 0 {
		o.hidden = 4
	}
	n := &net{dtype: o.dtype, kind: o.kind, rows: o.rows, graph: gorgonia.NewGraph()}
	n.x, n.y = newArray(o.dtype, o.rows*inputs), newArray(o.dtype, o.rows*outputs)
	rng := rand.New(rand.NewPCG(o.seed, 1))
	x, y := n.tensor("x", n.x, o.rows, inputs), n.tensor("y", n.y, o.rows, outputs)
	out := x
	for i, w := range []int{o.hidden, outputs} {
		in := out.Shape()[1]
		out = gorgonia.Must(gorgonia.Mul(out, n.param(fmt.Sprint("w", i), rng, in, w)))
		out = gorgonia.Must(gorgonia.BroadcastAdd(out, n.param(fmt.Sprint("b", i), rng, 1, w), nil, []byte{0}))
		if i == 0 {
			out = gorgonia.Must(gorgonia.Tanh(out))
		}
	}
	if !o.noScalar {
		out = gorgonia.Must(gorgonia.HadamardProd(out, n.scalar("s", 1.25)))
	}
	miss := gorgonia.Must(gorgonia.Sub(gorgonia.Must(gorgonia.HadamardProd(y, out)), y))
	sum := gorgonia.Must(gorgonia.Sum(gorgonia.Must(gorgonia.Square(miss))))
	factor := any(1 / float64(o.rows))
	if o.dtype == tensor.Float32 {
		factor = float32(1 / float64(o.rows))
	}
	loss := gorgonia.Must(gorgonia.Mul(sum, gorgonia.NewConstant(factor)))
	gorgonia.Read(loss, &n.loss)
	if o.kind == lisp {
		return n
	}
	if _, err := gorgonia.Grad(loss, n.params...); err != nil {
		t.Fatal(err)
	}
	if o.kind == tapeVM {
		return n // see machine
	}
	var opts []gorgonia.VMOpt
	if o.kind == tapeBound {
		opts = append(opts, gorgonia.BindDualValues(n.params...))
	}
	n.vm = gorgonia.NewTapeMachine(n.graph, opts...)
	t.Cleanup(func() { n.vm.Close() })
	return n
}

// machine makes the machine of tapeVM, which needs the bridge.
func (n *net) machine(t testing.TB, b *Bridge) {
	t.Helper()
	if n.kind == tapeVM {
		building.Lock()
		defer building.Unlock()
		n.vm = gorgonia.NewTapeMachine(n.graph, b.VM())
		t.Cleanup(func() { n.vm.Close() })
	}
}

func (n *net) tensor(name string, a array, shape ...int) *gorgonia.Node {
	backing := any(a.f32)
	if a.f64 != nil {
		backing = a.f64
	}
	v := tensor.New(tensor.WithShape(shape...), tensor.WithBacking(backing))
	return gorgonia.NodeFromAny(n.graph, v, gorgonia.WithName(name))
}

func (n *net) param(name string, rng *rand.Rand, shape ...int) *gorgonia.Node {
	a := newArray(n.dtype, tensor.Shape(shape).TotalSize())
	for i := range a.len() {
		a.set(i, 0.7*rng.NormFloat64())
	}
	p := n.tensor(name, a, shape...)
	n.params = append(n.params, p)
	return p
}

func (n *net) scalar(name string, x float64) *gorgonia.Node {
	v := any(x)
	if n.dtype == tensor.Float32 {
		v = float32(x)
	}
	p := gorgonia.NewScalar(n.graph, n.dtype, gorgonia.WithName(name), gorgonia.WithValue(v))
	n.params = append(n.params, p)
	return p
}

func (a array) set(i int, x float64) {
	if a.f64 != nil {
		a.f64[i] = x
	} else {
		a.f32[i] = float32(x)
	}
}

func (a array) at(i int) float64 {
	if a.f64 != nil {
		return a.f64[i]
	}
	return float64(a.f32[i])
}

// fill lets the rows be samples lo to hi, and zero from there on.
func (n *net) fill(lo, hi int) {
	n.x.zero()
	n.y.zero()
	for s := lo; s < hi; s++ {
		rng := rand.New(rand.NewPCG(uint64(s), 2))
		for i := range inputs {
			n.x.set((s-lo)*inputs+i, rng.NormFloat64())
		}
		n.y.set((s-lo)*outputs+rng.IntN(outputs), 1)
	}
}

// pass runs forward and backward over samples lo to hi, then does what the loop
// does with the gradient.
func (n *net) pass(lo, hi int, s gorgonia.Solver) error {
	n.fill(lo, hi)
	return n.run(s)
}

func (n *net) run(s gorgonia.Solver) error {
	vm := n.vm
	if n.kind == lisp {
		building.Lock()
		vm = gorgonia.NewLispMachine(n.graph)
		building.Unlock()
		defer vm.Close()
	}
	if err := vm.RunAll(); err != nil {
		return err
	}
	if err := s.Step(gorgonia.NodesToValueGrads(n.params)); err != nil {
		return err
	}
	vm.Reset()
	return nil
}

// weights returns all parameters as one slice.
func (n *net) weights(t testing.TB) []float64 {
	t.Helper()
	var out []float64
	for _, p := range n.params {
		a, err := arrayOf(p.Value())
		if err != nil {
			t.Fatal(err)
		}
		for i := range a.len() {
			out = append(out, a.at(i))
		}
	}
	return out
}

// A testGroup is a group without membership: it counts passes and has its Comms
// from the test.
type testGroup struct {
	comms   []*allreduce.Comm // used one after another, as each breaks
	weights elastic.Weights
	left    int  // passes left in this step
	stale   bool // the others have committed the step alone

	committing func()          // called first in Commit, if not nil
	failed     func(err error) // called after a ring has broken

	digest []byte
	check  func(ids []string, all [][]byte) error
}

func (g *testGroup) SetState(elastic.State) {}

func (g *testGroup) SetDigest(mine []byte, check func([]string, [][]byte) error) {
	g.digest, g.check = mine, check
}

func (g *testGroup) Alloc(bytes int) []byte { return make([]byte, bytes) }

func (g *testGroup) Free([]byte) {}

func (g *testGroup) Early() (*allreduce.Comm, elastic.Weights, bool) {
	if g.stale || g.Accumulating() || len(g.comms) == 0 || g.comms[0].Err() != nil {
		return nil, elastic.Weights{}, false
	}
	return g.comms[0], g.weights, true
}

func (g *testGroup) Accumulating() bool { return g.left > 0 }

func (g *testGroup) Commit(ctx context.Context, reduce func(*allreduce.Comm, elastic.Weights) error, apply func() error) (bool, error) {
	if g.committing != nil {
		g.committing()
	}
	if g.stale {
		return false, nil
	}
	for {
		err := reduce(g.comms[0], g.weights)
		if err == nil {
			return true, apply()
		}
		if len(g.comms) == 1 {
			return false, err
		}
		g.failed(err)
		g.comms = g.comms[1:]
	}
}

// newComms opens a ring of n peers in memory.
func newComms(t testing.TB, n int) (*ringtest.Net, []*allreduce.Comm) {
	t.Helper()
	mem := ringtest.NewNet(ringtest.Options{})
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprint("p", i)
	}
	comms, errs := make([]*allreduce.Comm, n), make([]error, n)
	together(n, func(i int) {
		var r *ring.Ring
		if r, errs[i] = ring.Open(t.Context(), ring.Config{Self: ids[i], Peers: ids, Epoch: 1, Transport: mem.Transport(ids[i])}); errs[i] == nil {
			comms[i] = allreduce.New(r, allreduce.Config{})
		}
	})
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { together(n, func(i int) { comms[i].Close() }) })
	return mem, comms
}

// together calls f for 0 to n-1 at once and waits.
func together(n int, f func(i int)) {
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { f(i) })
	}
	all.Wait()
}
