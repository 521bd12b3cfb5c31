package bridge

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"testing"

	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// An unseen loop is how somebody who does not know us writes one, in the shapes
// that Gorgonia's examples have, with the few lines that join it to others. It
// trains on one of so many equal parts of the same rows.
type unseen struct {
	loop func(d *desk) error
	late bool // the machine cannot be watched
	held bool // it runs more than once before Step
}

// A desk is where one peer runs an unseen loop.
type desk struct {
	join        joiner
	part, parts int
	ctx         context.Context
	b           *Bridge
	params      G.Nodes
}

const unseenRows, unseenSteps = 8, 12

// joined is Join, without the context.
func (d *desk) joined(params ...*G.Node) (*Bridge, func(error) error, error) {
	b, leave, err := d.join(params)
	d.b, d.params = b, params
	return b, leave, err
}

// rows returns this peer's rows of some noise, so many numbers each.
func (d *desk) rows(width int, seed uint64) (*tensor.Dense, int) {
	rng := rand.New(rand.NewPCG(seed, 7))
	all := make([]float64, unseenRows*width)
	for i := range all {
		all[i] = rng.Float64()
	}
	n := unseenRows / d.parts
	return tensor.New(tensor.WithShape(n, width), tensor.WithBacking(all[d.part*n*width:][:n*width])), n
}

// weights are other ones on every peer; the first one's are to win.
func (d *desk) weights(g *G.ExprGraph, name string, shape ...int) *G.Node {
	return G.NewTensor(g, G.Float64, len(shape), G.WithName(name), G.WithShape(shape...), G.WithValue(d.values(name, shape...)))
}

func (d *desk) values(name string, shape ...int) *tensor.Dense {
	rng := rand.New(rand.NewPCG(uint64(len(name)*100+int(name[len(name)-1])), uint64(d.part)))
	x := make([]float64, tensor.Shape(shape).TotalSize())
	for i := range x {
		x[i] = 0.5 * rng.NormFloat64()
	}
	return tensor.New(tensor.WithShape(shape...), tensor.WithBacking(x))
}

var unseenLoops = map[string]unseen{
	"the Lisp machine, a growing graph":    {loop: lispLoop, late: true},
	"no solver":                            {loop: ownUpdateLoop},
	"several graphs, one bridge":           {loop: towersLoop},
	"machines that run at once":            {loop: concurrentLoop},
	"an unrolled recurrent net":            {loop: recurrentLoop},
	"a graph for every batch":              {loop: rebuiltLoop},
	"tied weights, a machine that is lean": {loop: tiedLoop},
	"batches that add up":                  {loop: addingLoop, held: true},
	"a scalar and float32":                 {loop: scalarLoop},
	"an embedding, Reset comes first":      {loop: embeddingLoop},
}

// Two peers with half of the rows each run a loop that was written for one: they
// end with the same bits, and with what one peer makes of all rows; the gradients
// of all tensors go while the machine runs, where it can be watched.
func TestUnseenLoops(t *testing.T) {
	for name, u := range unseenLoops {
		t.Run(name, func(t *testing.T) {
			one := runUnseen(t, u, 1)[0]
			two := runUnseen(t, u, 2)
			for i, d := range two {
				s := d.b.Stats()
				if tensors := uint64(len(d.b.places)); (s.Late > 0) != u.late || (s.Held > 0) != u.held || s.Early+s.Held+s.Late != tensors*s.Steps || s.Steps < unseenSteps {
					t.Errorf("peer %d: %v", i, s)
				}
				if d.b.ParamsHash() != two[0].b.ParamsHash() {
					t.Errorf("peer %d has other parameters than peer 0", i)
				}
			}
			tolerance := toleranceOf("SGD", one.b.params[0].dtype)
			for i, p := range one.b.params {
				_, want, _ := p.value()
				_, got, _ := two[0].b.params[i].value()
				for k := range want.len() {
					if math.IsNaN(got.at(k)) || math.Abs(got.at(k)-want.at(k)) > tolerance*(1+math.Abs(want.at(k))) {
						t.Fatalf("element %d of %q is %v, one peer has %v", k, p.name, got.at(k), want.at(k))
					}
				}
			}
		})
	}
}

func runUnseen(t *testing.T, u unseen, n int) []*desk {
	t.Helper()
	c := newCluster(t)
	desks, errs := make([]*desk, n), make([]error, n)
	together(n, func(i int) {
		desks[i] = &desk{ctx: c.ctx, part: i, parts: n, join: func(params G.Nodes) (*Bridge, func(error) error, error) {
			building.Unlock() // the other builds its graph while this one joins
			defer building.Lock()
			return c.join(i, n, params)
		}}
		errs[i] = u.loop(desks[i])
	})
	for i, err := range errs {
		if err != nil {
			t.Fatalf("peer %d of %d: %v", i, n, err)
		}
	}
	return desks
}

// lispLoop is examples/charRNN: values that outlive their graphs, a graph that
// grows with every step, of which a new Lisp machine runs a part, and now and then
// a new graph.
func lispLoop(d *desk) error {
	building.Lock()
	wv, uv := d.values("w", 4, 3), d.values("u", 3, 1)
	newGraph := func() (*G.ExprGraph, *G.Node, *G.Node) {
		g := G.NewGraph()
		return g, G.NodeFromAny(g, wv, G.WithName("w")), G.NodeFromAny(g, uv, G.WithName("u"))
	}
	g, w, u := newGraph()
	b, leave, err := d.joined(w, u) // new
	if err != nil {
		return err
	}
	building.Unlock()
	solver := b.Solver(G.NewRMSPropSolver(G.WithLearnRate(0.01), G.WithClip(5))) // changed
	for i := range unseenSteps {
		building.Lock()
		x, rows := d.rows(4, uint64(i))
		h := G.Must(G.Tanh(G.Must(G.Mul(G.NodeFromAny(g, x, G.WithName(fmt.Sprint("x", i))), w))))
		square := G.Must(G.Square(G.Must(G.Mul(h, u))))
		cost := G.Must(G.Mul(G.Must(G.Sum(square, 0, 1)), G.NewConstant(1/float64(rows))))
		machine := G.NewLispMachine(g.SubgraphRoots(cost))
		building.Unlock()
		if err := machine.RunAll(); err != nil {
			return leave(err)
		}
		if err := solver.Step([]G.ValueGrad{w, u}); err != nil {
			return leave(err)
		}
		machine.Close()
		if i%5 < 4 {
			continue
		}
		building.Lock()
		g, w, u = newGraph()
		building.Unlock()
		if err := b.Rebind(G.Nodes{w, u}); err != nil { // new
			return leave(err)
		}
	}
	return leave(nil) // new
}

// layer is a dense layer with its square as the cost, averaged over the rows.
func layer(x, w, u *G.Node) *G.Node {
	h := G.Must(G.Tanh(G.Must(G.Mul(x, w))))
	return G.Must(G.Mean(G.Must(G.Square(G.Must(G.Mul(h, u))))))
}

// ownUpdateLoop changes the weights itself, by what Grad says.
func ownUpdateLoop(d *desk) error {
	building.Lock()
	g := G.NewGraph()
	_, rows := d.rows(4, 0)
	x := G.NewMatrix(g, G.Float64, G.WithShape(rows, 4), G.WithName("x"))
	w, u := d.weights(g, "w", 4, 3), d.weights(g, "u", 3, 1)
	if _, err := G.Grad(layer(x, w, u), w, u); err != nil {
		return err
	}
	b, leave, err := d.joined(w, u) // new
	if err != nil {
		return err
	}
	vm := G.NewTapeMachine(g, b.VM()) // changed
	defer vm.Close()
	building.Unlock()
	if err := b.Group().Sync(d.ctx); err != nil { // new
		return leave(err)
	}
	for i := range unseenSteps {
		xs, _ := d.rows(4, uint64(i))
		G.Let(x, xs)
		if err := vm.RunAll(); err != nil {
			return leave(err)
		}
		err := b.Step(func() error { // new
			for _, p := range d.params {
				grad, err := p.Grad()
				if err != nil {
					return err
				}
				values := p.Value().Data().([]float64)
				for k, x := range grad.Data().([]float64) {
					values[k] -= 0.1 * x
				}
			}
			return nil
		})
		if err != nil {
			return leave(err)
		}
		vm.Reset()
	}
	return leave(nil) // new
}

// towersLoop has two nets, each in a graph with a machine of its own, and one
// solver for both.
func towersLoop(d *desk) error {
	building.Lock()
	_, rows := d.rows(4, 0)
	var graphs []*G.ExprGraph
	var inputs, params G.Nodes
	for i := range 2 {
		g := G.NewGraph()
		x := G.NewMatrix(g, G.Float64, G.WithShape(rows, 4), G.WithName("x"))
		w, u := d.weights(g, fmt.Sprint("w", i), 4, 3+i), d.weights(g, fmt.Sprint("u", i), 3+i, 1)
		if _, err := G.Grad(layer(x, w, u), w, u); err != nil {
			return err
		}
		graphs, inputs, params = append(graphs, g), append(inputs, x), append(params, w, u)
	}
	b, leave, err := d.joined(params...) // new
	if err != nil {
		return err
	}
	var machines []G.VM
	for _, g := range graphs {
		machines = append(machines, G.NewTapeMachine(g, b.VM())) // changed
	}
	building.Unlock()
	solver := b.Solver(G.NewAdamSolver(G.WithLearnRate(0.01))) // changed
	for i := range unseenSteps {
		for k, vm := range machines {
			xs, _ := d.rows(4, uint64(2*i+k))
			G.Let(inputs[k], xs)
			if err := vm.RunAll(); err != nil {
				return leave(err)
			}
		}
		if err := solver.Step(G.NodesToValueGrads(params)); err != nil {
			return leave(err)
		}
		for _, vm := range machines {
			vm.Reset()
		}
	}
	return leave(nil) // new
}

// concurrentLoop is example_concurrent_training_test.go: trainers with a graph
// each, which run at once and share the memory of some weights.
func concurrentLoop(d *desk) error {
	building.Lock()
	_, rows := d.rows(4, 0)
	weights := d.values("w", 4, 3).Data()
	var graphs []*G.ExprGraph
	var inputs, params G.Nodes
	for i := range 2 {
		g := G.NewGraph()
		x := G.NewMatrix(g, G.Float64, G.WithShape(rows, 4), G.WithName("x"))
		w := G.NodeFromAny(g, tensor.New(tensor.WithShape(4, 3), tensor.WithBacking(weights)), G.WithName(fmt.Sprint("w", i)))
		u := d.weights(g, fmt.Sprint("u", i), 3, 1)
		if _, err := G.Grad(layer(x, w, u), w, u); err != nil {
			return err
		}
		graphs, inputs, params = append(graphs, g), append(inputs, x), append(params, w, u)
	}
	b, leave, err := d.joined(params...) // new
	if err != nil {
		return err
	}
	var machines []G.VM
	for _, g := range graphs {
		machines = append(machines, G.NewTapeMachine(g, b.VM())) // changed
	}
	building.Unlock()
	solver := b.Solver(G.NewVanillaSolver(G.WithLearnRate(0.05))) // changed
	for i := range unseenSteps {
		var wg sync.WaitGroup
		errs := make([]error, len(machines))
		for k, vm := range machines {
			xs, _ := d.rows(4, uint64(2*i+k))
			wg.Go(func() {
				G.Let(inputs[k], xs)
				errs[k] = vm.RunAll()
				vm.Reset()
			})
		}
		wg.Wait()
		for _, err := range errs {
			if err != nil {
				return leave(err)
			}
		}
		if err := solver.Step(G.NodesToValueGrads(params)); err != nil { // changed: of all trainers at once
			return leave(err)
		}
	}
	return leave(nil) // new
}

// recurrentLoop unrolls a net that uses its weights in every step of a sequence.
func recurrentLoop(d *desk) error {
	building.Lock()
	g := G.NewGraph()
	_, rows := d.rows(4, 0)
	wx, wh, u := d.weights(g, "wx", 4, 3), d.weights(g, "wh", 3, 3), d.weights(g, "u", 3, 1)
	h := G.NewMatrix(g, G.Float64, G.WithShape(rows, 3), G.WithName("h"), G.WithInit(G.Zeroes()))
	var xs G.Nodes
	var cost *G.Node
	for i := range 4 {
		x := G.NewMatrix(g, G.Float64, G.WithShape(rows, 4), G.WithName(fmt.Sprint("x", i)))
		h = G.Must(G.Tanh(G.Must(G.Add(G.Must(G.Mul(x, wx)), G.Must(G.Mul(h, wh))))))
		loss := G.Must(G.Mean(G.Must(G.Square(G.Must(G.Mul(h, u))))))
		if xs = append(xs, x); cost == nil {
			cost = loss
		} else {
			cost = G.Must(G.Add(cost, loss))
		}
	}
	if _, err := G.Grad(cost, wx, wh, u); err != nil {
		return err
	}
	b, leave, err := d.joined(wx, wh, u) // new
	if err != nil {
		return err
	}
	vm := G.NewTapeMachine(g, b.VM()) // changed
	defer vm.Close()
	building.Unlock()
	solver := b.Solver(G.NewMomentum(G.WithLearnRate(0.05))) // changed
	for i := range unseenSteps {
		for k, x := range xs {
			v, _ := d.rows(4, uint64(4*i+k))
			G.Let(x, v)
		}
		if err := vm.RunAll(); err != nil {
			return leave(err)
		}
		if err := solver.Step(G.NodesToValueGrads(d.params)); err != nil {
			return leave(err)
		}
		vm.Reset()
	}
	return leave(nil) // new
}

// rebuiltLoop builds a graph and a machine for every batch, around the same
// values.
func rebuiltLoop(d *desk) error {
	wv, uv := d.values("w", 4, 3), d.values("u", 3, 1)
	var b *Bridge
	var leave func(error) error
	var solver G.Solver
	for i := range unseenSteps {
		building.Lock()
		xs, _ := d.rows(4, uint64(i))
		g := G.NewGraph()
		w, u := G.NodeFromAny(g, wv, G.WithName("w")), G.NodeFromAny(g, uv, G.WithName("u"))
		if _, err := G.Grad(layer(G.NodeFromAny(g, xs, G.WithName("x")), w, u), w, u); err != nil {
			return err
		}
		var err error
		if b == nil {
			b, leave, err = d.joined(w, u) // new
		} else {
			err = b.Rebind(G.Nodes{w, u}) // new
		}
		if err != nil {
			return err
		}
		vm := G.NewTapeMachine(g, b.VM()) // changed
		building.Unlock()
		if solver == nil {
			solver = b.Solver(G.NewAdamSolver(G.WithLearnRate(0.01))) // changed
		}
		if err := vm.RunAll(); err != nil {
			return leave(err)
		}
		if err := solver.Step([]G.ValueGrad{w, u}); err != nil {
			return leave(err)
		}
		vm.Close()
	}
	return leave(nil) // new
}

// tiedLoop is the pretraining of examples/stacked_autoencoder: the decoder is the
// encoder transposed, and the machine computes nothing but what is asked for.
func tiedLoop(d *desk) error {
	building.Lock()
	g := G.NewGraph()
	_, rows := d.rows(6, 0)
	x := G.NewMatrix(g, G.Float64, G.WithShape(rows, 6), G.WithName("x"))
	w, bias := d.weights(g, "w", 6, 3), d.weights(g, "bias", 1, 3)
	h := G.Must(G.Sigmoid(G.Must(G.BroadcastAdd(G.Must(G.Mul(x, w)), bias, nil, []byte{0}))))
	y := G.Must(G.Sigmoid(G.Must(G.Mul(h, G.Must(G.Transpose(w))))))
	cost := G.Must(G.Mean(G.Must(G.BinaryXent(y, x))))
	var costValue G.Value
	readCost := G.Read(cost, &costValue)
	grads, err := G.Grad(cost, w, bias)
	if err != nil {
		return err
	}
	prog, locMap, err := G.CompileFunction(g, G.Nodes{x}, append(grads, readCost))
	if err != nil {
		return err
	}
	b, leave, err := d.joined(w, bias) // new
	if err != nil {
		return err
	}
	vm := G.NewTapeMachine(g, G.WithPrecompiled(prog, locMap), b.VM()) // changed
	defer vm.Close()
	building.Unlock()
	solver := b.Solver(G.NewVanillaSolver(G.WithLearnRate(0.3))) // changed
	for i := range unseenSteps {
		xs, _ := d.rows(6, uint64(i))
		G.Let(x, xs)
		if err := vm.RunAll(); err != nil {
			return leave(err)
		}
		if err := solver.Step([]G.ValueGrad{w, bias}); err != nil {
			return leave(err)
		}
		vm.Reset()
	}
	return leave(nil) // new
}

// addingLoop runs its machine over three batches before each step, and tells
// nobody.
func addingLoop(d *desk) error {
	building.Lock()
	g := G.NewGraph()
	_, rows := d.rows(4, 0)
	x := G.NewMatrix(g, G.Float64, G.WithShape(rows, 4), G.WithName("x"))
	w, u := d.weights(g, "w", 4, 3), d.weights(g, "u", 3, 1)
	if _, err := G.Grad(layer(x, w, u), w, u); err != nil {
		return err
	}
	b, leave, err := d.joined(w, u) // new
	if err != nil {
		return err
	}
	vm := G.NewTapeMachine(g, b.VM()) // changed
	defer vm.Close()
	building.Unlock()
	solver := b.Solver(G.NewVanillaSolver(G.WithLearnRate(0.05))) // changed
	for i := range 3 * unseenSteps {
		xs, _ := d.rows(4, uint64(i))
		G.Let(x, xs)
		if err := vm.RunAll(); err != nil {
			return leave(err)
		}
		vm.Reset()
		if i%3 < 2 {
			continue
		}
		if err := solver.Step(G.NodesToValueGrads(d.params)); err != nil {
			return leave(err)
		}
	}
	return leave(nil) // new
}

// scalarLoop multiplies by a scalar that is trained, in float32.
func scalarLoop(d *desk) error {
	building.Lock()
	g := G.NewGraph()
	xs, rows := d.rows(3, 1)
	narrow := make([]float32, 0, 3*rows)
	for _, v := range xs.Data().([]float64) {
		narrow = append(narrow, float32(v))
	}
	x := G.NodeFromAny(g, tensor.New(tensor.WithShape(rows, 3), tensor.WithBacking(narrow)), G.WithName("x"))
	theta := G.NewVector(g, G.Float32, G.WithName("theta"), G.WithShape(3), G.WithValue(tensor.New(tensor.WithBacking([]float32{1, -2, float32(d.part)}))))
	s := G.NewScalar(g, G.Float32, G.WithName("s"), G.WithValue(1.5+float32(d.part)))
	pred := G.Must(G.Mul(G.Must(G.Mul(x, theta)), s))
	if _, err := G.Grad(G.Must(G.Mean(G.Must(G.Square(pred)))), theta, s); err != nil {
		return err
	}
	b, leave, err := d.joined(theta, s) // new
	if err != nil {
		return err
	}
	vm := G.NewTapeMachine(g, b.VM()) // changed
	defer vm.Close()
	building.Unlock()
	solver := b.Solver(G.NewVanillaSolver(G.WithLearnRate(0.01))) // changed
	for range unseenSteps {
		if err := vm.RunAll(); err != nil {
			return leave(err)
		}
		if err := solver.Step([]G.ValueGrad{theta, s}); err != nil {
			return leave(err)
		}
		vm.Reset()
	}
	return leave(nil) // new
}

// embeddingLoop looks vectors up, and calls Reset before the pass, as
// examples/logisticregression does.
func embeddingLoop(d *desk) error {
	building.Lock()
	g := G.NewGraph()
	_, rows := d.rows(1, 0)
	words := G.NewVector(g, tensor.Int, G.WithShape(rows), G.WithName("words"))
	table, u := d.weights(g, "table", 6, 3), d.weights(g, "u", 3, 1)
	looked := G.Must(G.ByIndices(table, words, 0))
	cost := G.Must(G.Mean(G.Must(G.Square(G.Must(G.Mul(G.Must(G.Tanh(looked)), u))))))
	if _, err := G.Grad(cost, table, u); err != nil {
		return err
	}
	b, leave, err := d.joined(table, u) // new
	if err != nil {
		return err
	}
	vm := G.NewTapeMachine(g, b.VM()) // changed
	defer vm.Close()
	building.Unlock()
	solver := b.Solver(G.NewAdamSolver(G.WithLearnRate(0.01))) // changed
	for i := range unseenSteps {
		vm.Reset()
		noise, _ := d.rows(1, uint64(i))
		ids := make([]int, rows)
		for k, v := range noise.Data().([]float64) {
			ids[k] = int(6 * v)
		}
		G.Let(words, tensor.New(tensor.WithBacking(ids)))
		if err := vm.RunAll(); err != nil {
			return leave(err)
		}
		if err := solver.Step(G.NodesToValueGrads(d.params)); err != nil {
			return leave(err)
		}
	}
	return leave(nil) // new
}
