package bridge

import (
	"fmt"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// A param is one parameter of the model and what is fixed about it. Its value
// is asked of the node every time, because gorgonia.Let replaces it.
type param struct {
	node     *gorgonia.Node
	name     string
	dtype    tensor.Dtype
	shape    tensor.Shape // empty: a scalar
	colMajor bool
	len      int
}

// newParams checks that each node can be trained with others: it has a name of
// its own and a value of float32 or float64 in contiguous memory.
func newParams(nodes gorgonia.Nodes) ([]param, error) {
	params := make([]param, len(nodes))
	seen := make(map[string]int)
	for i, n := range nodes {
		if n == nil {
			return nil, fmt.Errorf("bridge: parameter %d is nil", i)
		}
		name := n.Name()
		if first, dup := seen[name]; dup {
			return nil, fmt.Errorf("bridge: parameters %d and %d are both named %q; Gorgonia takes equal names for one node, so give each gorgonia.WithName", first, i, name)
		}
		if len(name) == 0 || len(name) > maxName {
			return nil, fmt.Errorf("bridge: parameter %d has a name of %d bytes, want 1 to %d", i, len(name), maxName)
		}
		seen[name] = i
		a, err := arrayOf(n.Value())
		if err != nil {
			return nil, fmt.Errorf("bridge: parameter %q %w", name, err)
		}
		params[i] = param{node: n, name: name, dtype: a.dtype(), shape: n.Value().Shape().Clone(), len: a.len()}
		if d, ok := n.Value().(*tensor.Dense); ok {
			params[i].colMajor = d.DataOrder().IsColMajor()
		}
		if a.len() == 0 {
			return nil, fmt.Errorf("bridge: parameter %q has no elements: %v", name, params[i].shape)
		}
		if len(params[i].shape) > maxDims {
			return nil, fmt.Errorf("bridge: parameter %q has %d dimensions, want at most %d", name, len(params[i].shape), maxDims)
		}
	}
	return params, nil
}

func (p param) scalar() bool { return len(p.shape) == 0 }

// value returns the elements of the parameter as it is now.
func (p param) value() (gorgonia.Value, array, error) {
	v := p.node.Value()
	a, err := p.check(v)
	if err != nil {
		return nil, array{}, fmt.Errorf("bridge: parameter %q %w", p.name, err)
	}
	return v, a, nil
}

// set writes the elements of a value like p's into p's own memory, where the
// machines and the solver know it.
func (p param) set(from gorgonia.Value) error {
	v, a, err := p.value()
	if err != nil {
		return err
	}
	b, err := p.check(from)
	if err != nil {
		return fmt.Errorf("bridge: the new value of %q %w", p.name, err)
	}
	a.copyFrom(b)
	a.store(v)
	return nil
}

// gradient returns the gradient as Gorgonia holds it now, or nil.
func (p param) gradient() gorgonia.Value {
	v, err := p.node.Grad()
	if err != nil {
		return nil
	}
	return v
}

// grad returns the elements of the gradient as Gorgonia holds it now.
func (p param) grad() (gorgonia.Value, array, error) {
	v := p.gradient()
	if v == nil {
		return nil, array{}, fmt.Errorf("bridge: parameter %q has no gradient: is it in gorgonia.Grad, and did the machine run?", p.name)
	}
	a, err := p.check(v)
	if err != nil {
		return nil, array{}, fmt.Errorf("bridge: the gradient of %q %w", p.name, err)
	}
	return v, a, nil
}

// check returns the elements of v if they can be those of p or of its gradient.
func (p param) check(v gorgonia.Value) (array, error) {
	a, err := arrayOf(v)
	if err != nil {
		return array{}, err
	}
	_, tensorial := v.(*tensor.Dense)
	if a.dtype() != p.dtype || a.len() != p.len || tensorial == p.scalar() {
		return array{}, fmt.Errorf("has become a %T %v of %v, was %v of %v", v, v.Shape(), a.dtype(), p.shape, p.dtype)
	}
	return a, nil
}

// newValue makes an empty value of the kind that a solver keeps for p.
func (p param) newValue(shape tensor.Shape, colMajor bool) gorgonia.Value {
	switch {
	case p.scalar() && p.dtype == tensor.Float32:
		return gorgonia.NewF32(0)
	case p.scalar():
		return gorgonia.NewF64(0)
	}
	opts := []tensor.ConsOpt{tensor.WithShape(shape...), tensor.Of(p.dtype)}
	if colMajor {
		opts = append(opts, tensor.AsFortran(nil))
	}
	if d, ok := p.node.Value().(*tensor.Dense); ok {
		opts = append(opts, tensor.WithEngine(d.Engine()))
	}
	return tensor.New(opts...)
}
