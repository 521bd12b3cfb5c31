package solver

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// A param is a parameter without a graph.
type param struct {
	name string
	w, g gorgonia.Value
}

func (p *param) Name() string                  { return p.name }
func (p *param) Value() gorgonia.Value         { return p.w }
func (p *param) Grad() (gorgonia.Value, error) { return p.g, nil }

// newParam makes one with zero weights and gradient; without dims, a scalar.
func newParam(name string, dt tensor.Dtype, dims ...int) *param {
	value := func() gorgonia.Value {
		switch {
		case len(dims) > 0:
			return tensor.New(tensor.WithShape(dims...), tensor.Of(dt))
		case dt == tensor.Float32:
			return gorgonia.NewF32(0)
		}
		return gorgonia.NewF64(0)
	}
	return &param{name, value(), value()}
}

// A model is parameters of odd shapes: long and short, a bias, a scalar.
type model []*param

func newModel(dt tensor.Dtype, seed uint64) model {
	m := model{
		newParam("w0", dt, 7, 13),
		newParam("b0", dt, 1, 13),
		newParam("w1", dt, 5001),
		newParam("w2", dt, 3, 1, 3),
		newParam("s", dt),
	}
	rng := rand.New(rand.NewPCG(seed, 1))
	for _, p := range m {
		fill(p.w, rng, 1)
	}
	return m
}

func (m model) valueGrads() []gorgonia.ValueGrad {
	out := make([]gorgonia.ValueGrad, len(m))
	for i, p := range m {
		out[i] = p
	}
	return out
}

// fill sets the elements to random numbers of a type's precision.
func fill(v gorgonia.Value, rng *rand.Rand, sigma float64) {
	a := mustMemory(v)
	for i := range a.f32 {
		a.f32[i] = float32(sigma * rng.NormFloat64())
	}
	for i := range a.f64 {
		a.f64[i] = sigma * rng.NormFloat64()
	}
}

// setGrads gives all parameters the gradient of a step. It has a part that
// shrinks the weights, so that solvers that go wrong drift away.
func (m model) setGrads(step int) {
	for _, p := range m {
		rng := rand.New(rand.NewPCG(uint64(step), uint64(len(p.name))+uint64(p.name[len(p.name)-1])))
		fill(p.g, rng, 0.3)
		w, g := mustMemory(p.w), mustMemory(p.g)
		for i := range g.f32 {
			g.f32[i] += w.f32[i] / 4
		}
		for i := range g.f64 {
			g.f64[i] += w.f64[i] / 4
		}
	}
}

func (m model) train(t testing.TB, s gorgonia.Solver, from, to int) {
	t.Helper()
	for step := from; step < to; step++ {
		m.setGrads(step)
		if err := s.Step(m.valueGrads()); err != nil {
			t.Fatal(err)
		}
	}
}

func mustMemory(v gorgonia.Value) array {
	a, err := memoryOf(v)
	if err != nil {
		panic(fmt.Sprint("a value of the test ", err))
	}
	return a
}

// values returns the elements as float64.
func values(v gorgonia.Value) []float64 {
	a := mustMemory(v)
	out := append([]float64(nil), a.f64...)
	for _, x := range a.f32 {
		out = append(out, float64(x))
	}
	return out
}

func (m model) weights() []float64 {
	var out []float64
	for _, p := range m {
		out = append(out, values(p.w)...)
	}
	return out
}

func checkClose(t testing.TB, what string, got, want []float64, tolerance float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d elements, want %d", what, len(got), len(want))
	}
	for i := range got {
		if d := math.Abs(got[i] - want[i]); !(d <= tolerance*(1+math.Abs(want[i]))) {
			t.Fatalf("%s: element %d is %v, want %v", what, i, got[i], want[i])
		}
	}
}

// Every solver, with options other than the defaults.
var solvers = map[string]func(...Option) *Solver{
	"SGD": func(o ...Option) *Solver {
		return NewSGD(append([]Option{WithLearnRate(0.1), WithL2Reg(0.01), WithWeightDecay(0.02)}, o...)...)
	},
	"Momentum": func(o ...Option) *Solver {
		return NewMomentum(append([]Option{WithLearnRate(0.05), WithMomentum(0.8), WithL2Reg(0.01)}, o...)...)
	},
	"Nesterov": func(o ...Option) *Solver {
		return NewMomentum(append([]Option{WithLearnRate(0.05), WithNesterov(), WithWeightDecay(0.1)}, o...)...)
	},
	"RMSProp": func(o ...Option) *Solver {
		return NewRMSProp(append([]Option{WithLearnRate(0.01), WithRho(0.9), WithL2Reg(0.01)}, o...)...)
	},
	"Adam": func(o ...Option) *Solver {
		return NewAdam(append([]Option{WithLearnRate(0.01), WithBeta1(0.8), WithBeta2(0.99), WithL2Reg(0.01)}, o...)...)
	},
	"AdamW": func(o ...Option) *Solver {
		return NewAdamW(append([]Option{WithLearnRate(0.01), WithWeightDecay(0.1), WithEps(1e-6)}, o...)...)
	},
	"LARS": func(o ...Option) *Solver {
		return NewLARS(append([]Option{WithLearnRate(0.2), WithTrust(0.2), WithWeightDecay(0.01)}, o...)...)
	},
	"LAMB": func(o ...Option) *Solver {
		return NewLAMB(append([]Option{WithLearnRate(0.01), WithWeightDecay(0.1)}, o...)...)
	},
}

var dtypes = []tensor.Dtype{tensor.Float32, tensor.Float64}

func tolerance(dt tensor.Dtype) float64 {
	if dt == tensor.Float32 {
		return 1e-5
	}
	return 1e-12
}
