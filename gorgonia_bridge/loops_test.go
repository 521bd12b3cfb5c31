package bridge

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/ringrun/ringrun/elastic"
	"github.com/ringrun/ringrun/membership"
)

// The loops of Gorgonia's own examples (v0.9.18), each with the lines that differ
// marked: no more than five. Each returns what its parameters have become.

// irisLoop is examples/iris, with other flowers.
func irisLoop(join joiner, _ int) (*Bridge, error) {
	building.Lock()
	g := G.NewGraph()
	X := G.NodeFromAny(g, tensor.New(tensor.WithShape(30, 5), tensor.WithBacking(noise(150))), G.WithName("x"))
	Y := G.NodeFromAny(g, tensor.New(tensor.WithShape(30), tensor.WithBacking(noise(30))), G.WithName("y"))
	theta := G.NewVector(g, G.Float64, G.WithName("theta"), G.WithShape(5), G.WithInit(G.Gaussian(0, 1)))
	pred := G.Must(G.Mul(X, theta))
	var predicted G.Value
	G.Read(pred, &predicted)
	cost := G.Must(G.Mean(G.Must(G.Square(G.Must(G.Sub(pred, Y))))))
	if _, err := G.Grad(cost, theta); err != nil {
		return nil, err
	}
	b, leave, err := join(G.Nodes{theta}) // new
	if err != nil {
		return nil, err
	}
	machine := G.NewTapeMachine(g, b.VM()) // changed
	defer machine.Close()
	model := []G.ValueGrad{theta}
	building.Unlock()
	solver := b.Solver(G.NewVanillaSolver(G.WithLearnRate(0.001))) // changed
	for i := 0; i < 20; i++ {
		if err := machine.RunAll(); err != nil {
			return nil, leave(err)
		}
		if err := solver.Step(model); err != nil {
			return nil, leave(err)
		}
		machine.Reset()
	}
	return b, leave(nil) // new
}

// lineLoop is example_linearregression_test.go: its parameters are scalars.
func lineLoop(join joiner, _ int) (*Bridge, error) {
	building.Lock()
	g := G.NewGraph()
	x := G.NewVector(g, G.Float32, G.WithShape(10), G.WithName("x"), G.WithValue(tensor.New(tensor.WithBacking(tensor.Range(G.Float32, 0, 10)))))
	y := G.NewVector(g, G.Float32, G.WithShape(10), G.WithName("y"), G.WithValue(tensor.New(tensor.WithBacking(tensor.Range(G.Float32, 2, 12)))))
	m := G.NewScalar(g, G.Float32, G.WithName("m"), G.WithValue(rand.Float32()))
	c := G.NewScalar(g, G.Float32, G.WithName("c"), G.WithValue(rand.Float32()))
	cost := G.Must(G.Mean(G.Must(G.Square(G.Must(G.Sub(G.Must(G.Add(G.Must(G.Mul(x, m)), c)), y))))))
	if _, err := G.Grad(cost, m, c); err != nil {
		return nil, err
	}
	b, leave, err := join(G.Nodes{m, c}) // new
	if err != nil {
		return nil, err
	}
	machine := G.NewTapeMachine(g, b.VM()) // changed
	building.Unlock()
	solver := b.Solver(G.NewVanillaSolver(G.WithLearnRate(0.001), G.WithClip(5))) // changed
	model := []G.ValueGrad{m, c}
	for i := 0; i < 20; i++ {
		if err := machine.RunAll(); err != nil {
			return nil, leave(err)
		}
		if err := solver.Step(model); err != nil {
			return nil, leave(err)
		}
		machine.Reset()
	}
	return b, leave(nil) // new
}

// convLoop is examples/convnet with fewer filters: precompiled, with dropout and
// RMSProp, on batches that it slices off its data. Its cost cannot be learned.
func convLoop(join joiner, rank int) (*Bridge, error) {
	const bs, numExamples = 2, 16
	building.Lock()
	inputs := tensor.New(tensor.WithShape(numExamples, 1, 28, 28), tensor.WithBacking(noise(numExamples*784)))
	targets := tensor.New(tensor.WithShape(numExamples, 10), tensor.WithBacking(noise(numExamples*10)))
	g := G.NewGraph()
	x := G.NewTensor(g, G.Float64, 4, G.WithShape(bs, 1, 28, 28), G.WithName("x"))
	y := G.NewMatrix(g, G.Float64, G.WithShape(bs, 10), G.WithName("y"))
	w0 := G.NewTensor(g, G.Float64, 4, G.WithShape(2, 1, 3, 3), G.WithName("w0"), G.WithInit(G.GlorotN(1.0)))
	w1 := G.NewTensor(g, G.Float64, 4, G.WithShape(4, 2, 3, 3), G.WithName("w1"), G.WithInit(G.GlorotN(1.0)))
	w3 := G.NewMatrix(g, G.Float64, G.WithShape(4*7*7, 12), G.WithName("w3"), G.WithInit(G.GlorotN(1.0)))
	w4 := G.NewMatrix(g, G.Float64, G.WithShape(12, 10), G.WithName("w4"), G.WithInit(G.GlorotN(1.0)))
	learnables := G.Nodes{w0, w1, w3, w4}
	layer := func(x, w *G.Node) *G.Node {
		c := G.Must(G.Conv2d(x, w, tensor.Shape{3, 3}, []int{1, 1}, []int{1, 1}, []int{1, 1}))
		return G.Must(G.Dropout(G.Must(G.MaxPool2D(G.Must(G.Rectify(c)), tensor.Shape{2, 2}, []int{0, 0}, []int{2, 2})), 0.2))
	}
	r := G.Must(G.Reshape(layer(layer(x, w0), w1), tensor.Shape{bs, 4 * 7 * 7}))
	l3 := G.Must(G.Dropout(G.Must(G.Rectify(G.Must(G.Mul(r, w3)))), 0.55))
	out := G.Must(G.SoftMax(G.Must(G.Mul(l3, w4))))
	cost := G.Must(G.Neg(G.Must(G.Mean(G.Must(G.HadamardProd(G.Must(G.Log(out)), y))))))
	var costVal G.Value
	G.Read(cost, &costVal)
	if _, err := G.Grad(cost, learnables...); err != nil {
		return nil, err
	}
	b, leave, err := join(learnables) // new
	if err != nil {
		return nil, err
	}
	prog, locMap, _ := G.Compile(g)
	vm := G.NewTapeMachine(g, G.WithPrecompiled(prog, locMap), b.VM()) // changed
	building.Unlock()
	solver := b.Solver(G.NewRMSPropSolver(G.WithBatchSize(float64(bs)))) // changed
	defer vm.Close()
	for i := 0; i < 2; i++ {
		for batch := rank; batch < numExamples/bs; batch += 2 { // changed
			xVal, err := inputs.Slice(G.S(batch*bs, batch*bs+bs))
			if err != nil {
				return nil, leave(err)
			}
			yVal, err := targets.Slice(G.S(batch*bs, batch*bs+bs))
			if err != nil {
				return nil, leave(err)
			}
			if err := xVal.(*tensor.Dense).Reshape(bs, 1, 28, 28); err != nil {
				return nil, leave(err)
			}
			G.Let(x, xVal)
			G.Let(y, yVal)
			if err := vm.RunAll(); err != nil {
				return nil, leave(err)
			}
			if err := solver.Step(G.NodesToValueGrads(learnables)); err != nil {
				return nil, leave(err)
			}
			vm.Reset()
		}
	}
	return b, leave(nil)
}

func noise(n int) []float64 {
	rng := rand.New(rand.NewPCG(uint64(n), 5))
	x := make([]float64, n)
	for i := range x {
		x[i] = rng.Float64()
	}
	return x
}

type joiner func(params G.Nodes) (*Bridge, func(error) error, error)

// Two peers run each loop: from random weights they come to the same ones, and
// all gradients of tensors go early.
func TestLoopsOfGorgonia(t *testing.T) {
	for name, loop := range map[string]func(joiner, int) (*Bridge, error){"iris": irisLoop, "line": lineLoop, "convnet": convLoop} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t)
			bs, errs := make([]*Bridge, 2), make([]error, 2)
			together(2, func(i int) {
				bs[i], errs[i] = loop(func(params G.Nodes) (*Bridge, func(error) error, error) {
					building.Unlock() // the other builds its graph while this one joins
					defer building.Lock()
					return c.join(i, 2, params)
				}, i)
			})
			for i, b := range bs {
				if errs[i] != nil {
					t.Fatal(errs[i])
				}
				s := b.Stats()
				if tensors := uint64(len(b.places)); s.Late+s.Held+s.Redone != 0 || s.Early != tensors*s.Steps || s.Steps < 8 {
					t.Errorf("peer %d: %v, of %d tensors", i, s, tensors)
				}
				if b.ParamsHash() != bs[0].ParamsHash() {
					t.Errorf("peer %d has other parameters than peer 0", i)
				}
				for _, p := range b.params {
					if _, a, _ := p.value(); math.IsNaN(a.at(0)) {
						t.Errorf("%q is not a number", p.name)
					}
				}
			}
		})
	}
}

// join is run for Join.
func (c *cluster) join(i, size int, params G.Nodes) (*Bridge, func(error) error, error) {
	cfg := elastic.Config{
		Membership: membership.Config{ID: fmt.Sprintf("p%d", i), Run: c.t.Name(), Secret: []byte("a secret of the test")},
		Size:       size,
		Silence:    20 * time.Second, // nobody is lost because the machine is busy
	}
	if i == 0 {
		cfg.Membership.Found = true
		cfg.Report = reports(c.report)
	} else {
		if err := wait(c.ctx, c.founded); err != nil {
			return nil, nil, err
		}
		cfg.Membership.Join = []string{c.addr}
	}
	return join(c.ctx, cfg, params)
}
