package bridge

import (
	"fmt"
	"math"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// A metric is a scalar that is averaged along with the gradients.
type metric struct {
	name string
	from *gorgonia.Value
	sum  float64 // of this peer's passes in the current step
	mean float64 // of all peers', for the last step
}

// Average makes Metric(name) the mean of *v over all passes of all peers in each
// step, weighted like the gradient. *v is what gorgonia.Read fills in: a scalar
// of float32 or float64, such as the loss.
func Average(name string, v *gorgonia.Value) Option {
	return func(o *options) {
		o.metrics = append(o.metrics, &metric{name: name, from: v, mean: math.NaN()})
	}
}

// Metric returns the mean of a value given to Average, over the last step that
// was committed; before the first it is not a number. It panics when there is no
// such value.
func (b *Bridge) Metric(name string) float64 {
	for _, m := range b.metrics {
		if m.name == name {
			return m.mean
		}
	}
	panic(fmt.Sprintf("bridge: no value %q was given to Average", name))
}

func checkNames(metrics []*metric) error {
	for i, m := range metrics {
		for _, other := range metrics[:i] {
			if m.name == other.name {
				return fmt.Errorf("bridge: two averages are named %q", m.name)
			}
		}
	}
	return nil
}

// add takes the value of one pass.
func (m *metric) add() error {
	switch v := (*m.from).(type) {
	case *gorgonia.F32:
		m.sum += float64(*v)
		return nil
	case *gorgonia.F64:
		m.sum += float64(*v)
		return nil
	case *tensor.Dense:
		if a, err := arrayOf(v); err == nil && a.len() == 1 {
			m.sum += float64(append(a.f32, 0)[0]) + append(a.f64, 0)[0]
			return nil
		}
	case nil:
		return fmt.Errorf("bridge: average %q has no value: is it read with gorgonia.Read, and did the machine run?", m.name)
	}
	return fmt.Errorf("bridge: average %q is a %T %v of %v, want a scalar of float32 or float64", m.name, *m.from, (*m.from).Shape(), (*m.from).Dtype())
}
