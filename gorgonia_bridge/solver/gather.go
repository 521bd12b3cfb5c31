package solver

import (
	"fmt"

	"gorgonia.org/gorgonia"
)

// gather looks up parameters, gradients and slots. No parameter has changed when
// it fails.
func (s *Solver) gather(model []gorgonia.ValueGrad) error {
	s.calls++
	s.work = s.work[:0]
	for i, n := range model {
		it, err := s.item(i, n)
		if err != nil {
			clear(s.work)
			return err
		}
		s.work = append(s.work, it)
	}
	return nil
}

// item looks at parameter i.
func (s *Solver) item(i int, n gorgonia.ValueGrad) (item, error) {
	named, ok := n.(gorgonia.Namer)
	if !ok || named.Name() == "" {
		return item{}, fmt.Errorf("solver: parameter %d, a %T, has no name", i, n)
	}
	name := named.Name()
	value := n.Value()
	w, err := memoryOf(value)
	if err != nil {
		return item{}, fmt.Errorf("solver: parameter %q %w", name, err)
	}
	grad, err := n.Grad()
	if err != nil {
		return item{}, fmt.Errorf("solver: parameter %q: %w", name, err)
	}
	g, err := memoryOf(grad)
	if err != nil {
		return item{}, fmt.Errorf("solver: the gradient of %q %w", name, err)
	}
	if g.size() != w.size() || g.len() != w.len() || colMajor(grad) != colMajor(value) {
		return item{}, fmt.Errorf("solver: the gradient of %q is %v of %v, columns first %t; the parameter is %v of %v, %t",
			name, grad.Shape(), grad.Dtype(), colMajor(grad), value.Shape(), value.Dtype(), colMajor(value))
	}
	sl, err := s.slot(name, value, w)
	return item{sl, w, g}, err
}

// slot returns the slot of a parameter, a new one if it has none.
func (s *Solver) slot(name string, v gorgonia.Value, w array) (*slot, error) {
	sl := s.slots[name]
	if sl == nil {
		if len(name) > maxName {
			return nil, fmt.Errorf("solver: a parameter has a name of %d bytes, at most %d", len(name), maxName)
		}
		sl = &slot{name: name, size: w.size(), len: w.len()}
		for range s.algorithm.keeps {
			sl.kept = append(sl.kept, newArray(sl.size, sl.len))
		}
		s.slots[name] = sl
	}
	if sl.call == s.calls {
		return nil, fmt.Errorf("solver: two parameters are named %q", name)
	}
	if sl.size != w.size() || sl.len != w.len() {
		return nil, fmt.Errorf("solver: parameter %q has %d elements of %d bytes, what is kept of it %d of %d bytes", name, w.len(), w.size(), sl.len, sl.size)
	}
	if !sl.asked {
		sl.excluded, sl.asked = s.hyper.exclude(name, v.Shape()), true
	}
	sl.call = s.calls
	return sl, nil
}
