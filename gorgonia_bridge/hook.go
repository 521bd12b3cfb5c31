package bridge

import (
	"fmt"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/ringrun/ringrun/gorgonia_bridge/blas"
)

// VM is an option for gorgonia.NewTapeMachine that hides communication behind
// the backward pass: each gradient is on its way to the other peers while the
// next ones are still being computed. It stands in for BindDualValues and
// WithEngine; gorgonia.Grad must have been called. The machine computes with
// blas.Engine.
//
// Without it, and with the Lisp machine, gradients are reduced when the pass is
// over: the results are the same.
func (b *Bridge) VM() gorgonia.VMOpt {
	return func(m gorgonia.VM) {
		if fmt.Sprintf("%T", m) != "*gorgonia.tapeMachine" {
			return // adds to a gradient more than once
		}
		if err := b.prepare(); err != nil {
			b.vmErr = err
			return
		}
		gorgonia.WithEngine(b.engine)(m)
		gorgonia.BindDualValues(b.nodes()...)(m)
		b.aimLater(m)
	}
}

// prepare makes everything ready for a machine that is watched.
func (b *Bridge) prepare() (err error) {
	for _, p := range b.params {
		if p.node.Deriv() == nil {
			return fmt.Errorf("bridge: parameter %q has no gradient yet where VM is used: call gorgonia.Grad before, or give it to Frozen", p.name)
		}
	}
	defer func() { // WithGrad panics
		if r := recover(); r != nil {
			err = fmt.Errorf("bridge: bind the gradients: %v", r)
		}
	}()
	b.arrange()
	b.describe()
	b.bind()
	b.modes = modesOf(b.params)
	return nil
}

func (b *Bridge) nodes() gorgonia.Nodes {
	var nodes gorgonia.Nodes
	for _, p := range b.params {
		nodes = append(nodes, p.node)
	}
	return nodes
}

// An engine is how the tape machine adds gradients. When one is complete, the
// machine adds it to the parameter's dual value, once in every pass, by this
// engine's Add.
type engine struct {
	blas.Engine
	b *Bridge
}

// Add returns x + y. If x is the memory of a gradient, that is now complete.
func (e *engine) Add(x, y tensor.Tensor, opts ...tensor.FuncOpt) (tensor.Tensor, error) {
	e.b.aim()
	d, ok := x.(*tensor.Dense)
	if !ok {
		return e.Engine.Add(x, y, opts...)
	}
	if i, ok := e.b.slots[d]; ok && !e.b.stepping && d == e.b.grads[i].slots[e.b.home] {
		return e.b.take(i, d, y, opts)
	}
	return e.Engine.Add(x, y, opts...)
}

// MatMul writes the product of x and y to one of our places, too.
func (e *engine) MatMul(x, y, to tensor.Tensor) error {
	e.b.aim()
	return e.Engine.MatMul(x, y, to)
}

// take adds what a pass has found to gradient i, and lets it go on its way. It
// never blocks, and does not panic: the machine runs it on a goroutine of its own,
// where a panic ends the process.
func (b *Bridge) take(i int, d *tensor.Dense, y tensor.Tensor, opts []tensor.FuncOpt) (sum tensor.Tensor, err error) {
	b.hook.Lock() // several machines may run at once
	defer b.hook.Unlock()
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("bridge: gradient of %q: %v", b.params[i].name, r)
		}
	}()
	g := &b.grads[i]
	home := b.arenas[b.home].part(g.place)
	switch v, ok := addend(y, b.params[i]); {
	case y == tensor.Tensor(d): // see aim
	case !ok:
		if _, err := b.engine.Engine.Add(d, y, opts...); err != nil {
			return nil, err
		}
	case g.fires == 0 && b.held == 0: // home is zero
		home.copyFrom(v)
	default:
		home.add(v)
	}
	b.fired(g)
	return d, nil
}

// addend returns the elements of y if they lie as those of the gradient of p do.
func addend(y tensor.Tensor, p param) (array, bool) {
	d, ok := y.(*tensor.Dense)
	if !ok || d.IsMasked() || d.DataOrder().IsColMajor() || d.DataOrder().IsNotContiguous() || !d.IsNativelyAccessible() {
		return array{}, false
	}
	a, err := p.check(d)
	return a, err == nil
}

// AddScalar is Add where x or y has one element, and no dimensions.
func (e *engine) AddScalar(x tensor.Tensor, y interface{}, left bool, opts ...tensor.FuncOpt) (tensor.Tensor, error) {
	r, err := e.Engine.AddScalar(x, y, left, opts...)
	if d, ok := r.(*tensor.Dense); ok && err == nil {
		if i, ok := e.b.slots[d]; ok && !e.b.stepping && d == e.b.grads[i].slots[e.b.home] {
			e.b.hook.Lock()
			defer e.b.hook.Unlock()
			e.b.fired(&e.b.grads[i])
		}
	}
	return r, err
}

// fired notes that a gradient is complete, and starts what it was waited for. If
// it has been before in this step, then the machine has run twice: what is on its
// way must be reduced again, which peers tell each other in the tail.
func (b *Bridge) fired(g *gradient) {
	b.openFlight()
	if g.fires++; g.fires > 1 {
		b.twice = true
		b.flight.redo = b.flight.redo || b.flight.comm != nil && g.bucket < len(b.flight.works)
		return
	}
	b.missing[g.bucket]--
	b.launchReady()
}
