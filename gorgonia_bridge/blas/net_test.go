package blas

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/blas/gonum"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// A net is a classifier that learns one batch of noise by heart.
type net struct {
	graph  *gorgonia.ExprGraph
	params gorgonia.Nodes
	loss   gorgonia.Value
	vm     gorgonia.VM
	solver gorgonia.Solver
	rng    *rand.Rand
}

const classes = 10

func newNet() *net {
	return &net{graph: gorgonia.NewGraph(), rng: rand.New(rand.NewPCG(1, 2)), solver: gorgonia.NewVanillaSolver(gorgonia.WithLearnRate(0.01))}
}

func (n *net) tensor(name string, scale float64, shape ...int) *gorgonia.Node {
	data := make([]float32, tensor.Shape(shape).TotalSize())
	for i := range data {
		data[i] = float32(n.rng.NormFloat64() * scale)
	}
	t := tensor.New(tensor.WithShape(shape...), tensor.WithBacking(data))
	return gorgonia.NodeFromAny(n.graph, t, gorgonia.WithName(name))
}

func (n *net) param(scale float64, shape ...int) *gorgonia.Node {
	p := n.tensor(fmt.Sprint("param", len(n.params)), scale, shape...)
	n.params = append(n.params, p)
	return p
}

func (n *net) dense(x *gorgonia.Node, out int) *gorgonia.Node {
	in := x.Shape()[1]
	xw := gorgonia.Must(gorgonia.Mul(x, n.param(1/float64(in), in, out)))
	return gorgonia.Must(gorgonia.BroadcastAdd(xw, n.param(0, 1, out), nil, []byte{0}))
}

// finish adds the loss, and compiles the graph for an engine.
func (n *net) finish(x *gorgonia.Node, engine tensor.Engine) *net {
	rows := x.Shape()[0]
	labels := make([]float32, rows*classes)
	for i := range rows {
		labels[i*classes+n.rng.IntN(classes)] = 1
	}
	y := gorgonia.NodeFromAny(n.graph, tensor.New(tensor.WithShape(rows, classes), tensor.WithBacking(labels)), gorgonia.WithName("y"))
	logp := gorgonia.Must(gorgonia.LogSoftMax(x))
	sum := gorgonia.Must(gorgonia.Sum(gorgonia.Must(gorgonia.HadamardProd(y, logp))))
	loss := gorgonia.Must(gorgonia.Mul(sum, gorgonia.NewConstant(-1/float32(rows))))
	gorgonia.Read(loss, &n.loss)
	if _, err := gorgonia.Grad(loss, n.params...); err != nil {
		panic(err)
	}
	n.vm = gorgonia.NewTapeMachine(n.graph, gorgonia.BindDualValues(n.params...), gorgonia.WithEngine(engine))
	return n
}

// perceptron is 784-512-512-512-512-10.
func perceptron(batch int, engine tensor.Engine) *net {
	n := newNet()
	x := n.tensor("x", 1, batch, 784)
	for range 4 {
		x = gorgonia.Must(gorgonia.Rectify(n.dense(x, 512)))
	}
	return n.finish(n.dense(x, classes), engine)
}

// convolutional has three layers of 3×3 convolutions, and two dense ones.
func convolutional(batch int, engine tensor.Engine) *net {
	return convolve(batch, engine, gorgonia.Conv2d, gorgonia.MaxPool2D)
}

// convolutionalOurs is the same with our layers.
func convolutionalOurs(batch int, engine tensor.Engine) *net {
	return convolve(batch, engine, Conv2d, MaxPool2D)
}

func convolve(batch int, engine tensor.Engine,
	conv func(_, _ *gorgonia.Node, _ tensor.Shape, _, _, _ []int) (*gorgonia.Node, error),
	pool func(_ *gorgonia.Node, _ tensor.Shape, _, _ []int) (*gorgonia.Node, error)) *net {
	n := newNet()
	x := n.tensor("x", 1, batch, 1, 28, 28)
	for _, channels := range []int{32, 64, 128} {
		in := x.Shape()[1]
		w := n.param(0.3/float64(in), channels, in, 3, 3)
		x = gorgonia.Must(conv(x, w, tensor.Shape{3, 3}, []int{1, 1}, []int{1, 1}, []int{1, 1}))
		x = gorgonia.Must(pool(gorgonia.Must(gorgonia.Rectify(x)), tensor.Shape{2, 2}, []int{0, 0}, []int{2, 2}))
	}
	x = gorgonia.Must(gorgonia.Reshape(x, tensor.Shape{batch, 128 * 9}))
	return n.finish(n.dense(gorgonia.Must(gorgonia.Rectify(n.dense(x, 625))), classes), engine)
}

// step trains once and returns the loss.
func (n *net) step(t testing.TB) float32 {
	t.Helper()
	if err := n.vm.RunAll(); err != nil {
		t.Fatal(err)
	}
	if err := n.solver.Step(gorgonia.NodesToValueGrads(n.params)); err != nil {
		t.Fatal(err)
	}
	loss := n.loss.Data().(float32)
	n.vm.Reset()
	return loss
}

// BenchmarkStep trains with gonum, with our product, and with our engine as well:
//
//	go test -run - -bench Step -cpu 1 -count 10 ./gorgonia_bridge/blas
func BenchmarkStep(b *testing.B) {
	defer gorgonia.Use(gonum.Implementation{})
	for _, model := range []struct {
		name  string
		batch int
		build func(batch int, engine tensor.Engine) *net
	}{{"mlp", 128, perceptron}, {"conv", 32, convolutional}, {"conv-ours", 32, convolutionalOurs}} {
		for _, with := range []struct {
			name   string
			blas   gorgonia.BLAS
			engine tensor.Engine
		}{
			{"gonum", gonum.Implementation{}, gorgonia.StandardEngine{}},
			{"blas", Implementation{}, gorgonia.StandardEngine{}},
			{"blas+engine", Implementation{}, Engine{}},
		} {
			b.Run(fmt.Sprintf("model=%s/batch=%d/with=%s", model.name, model.batch, with.name), func(b *testing.B) {
				gorgonia.Use(with.blas)
				n := model.build(model.batch, with.engine)
				defer n.vm.Close()
				n.step(b)
				b.ReportAllocs()
				for b.Loop() {
					n.step(b)
				}
			})
		}
	}
}
