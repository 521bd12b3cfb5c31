package solver

import (
	"fmt"
	"math"
	"testing"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// A reference is a solver as it stands in the papers, for one parameter, in
// float64 and with memory taken at will. n counts the steps from 1.
type reference func(w, g []float64, n int)

func times(x []float64, f func(i int, x float64) float64) []float64 {
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = f(i, v)
	}
	return out
}

func norm(x []float64) float64 {
	sum := 0.0
	for _, v := range x {
		sum += v * v
	}
	return math.Sqrt(sum)
}

// references make what the entries of solvers are, for a parameter that is
// excluded or not.
var references = map[string]func(excluded bool) reference{
	"SGD": func(excluded bool) reference {
		return func(w, g []float64, _ int) {
			for i := range w {
				l2, decay := 0.01*w[i], 0.02*w[i]
				if excluded {
					l2, decay = 0, 0
				}
				w[i] -= 0.1*decay + 0.1*(g[i]+l2)
			}
		}
	},
	"Momentum": func(excluded bool) reference {
		l2 := 0.01
		if excluded {
			l2 = 0
		}
		var v []float64
		return func(w, g []float64, n int) {
			if n == 1 {
				v = make([]float64, len(w))
			}
			for i := range w {
				v[i] = 0.8*v[i] - 0.05*(g[i]+l2*w[i]) // with the rate inside, as in Gorgonia
				w[i] += v[i]
			}
		}
	},
	"Nesterov": func(excluded bool) reference {
		decay := 0.1
		if excluded {
			decay = 0
		}
		var v []float64
		return func(w, g []float64, n int) {
			if n == 1 {
				v = make([]float64, len(w))
			}
			for i := range w {
				before := v[i]
				v[i] = 0.9*v[i] - 0.05*g[i]
				w[i] -= 0.05 * decay * w[i]
				w[i] += -0.9*before + 1.9*v[i] // Sutskever's form
			}
		}
	},
	"RMSProp": func(excluded bool) reference {
		l2 := 0.01
		if excluded {
			l2 = 0
		}
		var v []float64
		return func(w, g []float64, n int) {
			if n == 1 {
				v = make([]float64, len(w))
			}
			for i := range w {
				x := g[i] + l2*w[i]
				v[i] = 0.9*v[i] + 0.1*x*x
				w[i] -= 0.01 * x / math.Sqrt(v[i]+1e-8)
			}
		}
	},
	"Adam": func(excluded bool) reference {
		return adamReference(0.8, 0.99, 1e-8, func(w, u []float64) {
			for i := range w {
				w[i] -= 0.01 * u[i]
			}
		}, map[bool]float64{false: 0.01}[excluded])
	},
	"AdamW": func(excluded bool) reference {
		return adamReference(0.9, 0.999, 1e-6, func(w, u []float64) {
			for i := range w {
				decay := 0.1
				if excluded {
					decay = 0
				}
				w[i] -= 0.01 * (u[i] + decay*w[i])
			}
		}, 0)
	},
	"LARS": func(excluded bool) reference {
		var v []float64
		return func(w, g []float64, n int) {
			if n == 1 {
				v = make([]float64, len(w))
			}
			local, decay := 1.0, 0.0
			if !excluded {
				decay = 0.01
				local = 0.2 * norm(w) / (norm(g) + decay*norm(w))
			}
			for i := range w {
				v[i] = 0.9*v[i] + 0.2*local*(g[i]+decay*w[i])
				w[i] -= v[i]
			}
		}
	},
	"LAMB": func(excluded bool) reference {
		return adamReference(0.9, 0.999, 1e-6, func(w, u []float64) {
			ratio := 1.0
			if !excluded {
				u = times(u, func(i int, x float64) float64 { return x + 0.1*w[i] })
				ratio = norm(w) / norm(u)
			}
			for i := range w {
				w[i] -= 0.01 * ratio * u[i]
			}
		}, 0)
	},
}

func adamReference(beta1, beta2, eps float64, move func(w, u []float64), l2 float64) reference {
	var m, v []float64
	return func(w, g []float64, n int) {
		if n == 1 {
			m, v = make([]float64, len(w)), make([]float64, len(w))
		}
		u := make([]float64, len(w))
		for i := range w {
			x := g[i] + l2*w[i]
			m[i] = beta1*m[i] + (1-beta1)*x
			v[i] = beta2*v[i] + (1-beta2)*x*x
			mHat, vHat := m[i]/(1-math.Pow(beta1, float64(n))), v[i]/(1-math.Pow(beta2, float64(n)))
			u[i] = mHat / (math.Sqrt(vHat) + eps)
		}
		move(w, u)
	}
}

// Every solver does what its paper says, for 50 steps, in both types, for
// parameters that are excluded and others.
func TestSolversFollowTheirReferences(t *testing.T) {
	for name, newSolver := range solvers {
		for _, dt := range dtypes {
			t.Run(fmt.Sprintf("%s/%v", name, dt), func(t *testing.T) {
				m := newModel(dt, 1)
				s := newSolver(WithExclude(Vectors))
				var want [][]float64
				var refs []reference
				for _, p := range m {
					want = append(want, values(p.w))
					refs = append(refs, references[name](Vectors("", p.w.Shape())))
				}
				for n := 1; n <= 50; n++ {
					m.setGrads(n)
					for i, p := range m {
						refs[i](want[i], values(p.g), n)
					}
					if err := s.Step(m.valueGrads()); err != nil {
						t.Fatal(err)
					}
					for i, p := range m {
						checkClose(t, fmt.Sprintf("step %d, %s", n, p.name), values(p.w), want[i], tolerance(dt))
						if norm(values(p.g)) != 0 {
							t.Fatalf("step %d leaves %s a gradient", n, p.name)
						}
					}
				}
			})
		}
	}
}

// Where Gorgonia's solvers are right, ours give the same.
func TestSolversAgreeWithGorgonia(t *testing.T) {
	for _, tt := range []struct {
		name   string
		ours   func() *Solver
		theirs func() gorgonia.Solver
	}{
		{"SGD", func() *Solver { return NewSGD(WithLearnRate(0.1)) },
			func() gorgonia.Solver { return gorgonia.NewVanillaSolver(gorgonia.WithLearnRate(0.1)) }},
		{"SGD, clip", func() *Solver { return NewSGD(WithLearnRate(0.1), WithClip(0.2)) },
			func() gorgonia.Solver {
				return gorgonia.NewVanillaSolver(gorgonia.WithLearnRate(0.1), gorgonia.WithClip(0.2))
			}},
		{"SGD, batch", func() *Solver { return NewSGD(WithLearnRate(1), WithBatchSize(8)) },
			func() gorgonia.Solver {
				return gorgonia.NewVanillaSolver(gorgonia.WithLearnRate(1), gorgonia.WithBatchSize(8))
			}},
		{"SGD, L2", func() *Solver { return NewSGD(WithLearnRate(0.1), WithL2Reg(0.1)) },
			func() gorgonia.Solver {
				return gorgonia.NewVanillaSolver(gorgonia.WithLearnRate(0.1), gorgonia.WithL2Reg(0.1))
			}},
		{"Momentum", func() *Solver { return NewMomentum(WithLearnRate(0.05)) },
			func() gorgonia.Solver { return gorgonia.NewMomentum(gorgonia.WithLearnRate(0.05)) }},
		{"Momentum, batch, clip", func() *Solver { return NewMomentum(WithBatchSize(4), WithClip(0.05)) },
			func() gorgonia.Solver {
				return gorgonia.NewMomentum(gorgonia.WithBatchSize(4), gorgonia.WithClip(0.05))
			}},
		{"RMSProp", func() *Solver { return NewRMSProp(WithLearnRate(0.0003)) },
			func() gorgonia.Solver { return gorgonia.NewRMSPropSolver(gorgonia.WithLearnRate(0.0003)) }},
		{"Adam", func() *Solver { return NewAdam() },
			func() gorgonia.Solver { return gorgonia.NewAdamSolver() }},
		{"Adam, batch, clip", func() *Solver { return NewAdam(WithBatchSize(2), WithClip(0.1)) },
			func() gorgonia.Solver {
				return gorgonia.NewAdamSolver(gorgonia.WithBatchSize(2), gorgonia.WithClip(0.1))
			}},
		{"Adam, L2", func() *Solver { return NewAdam(WithL2Reg(0.01), WithBeta1(0.8)) },
			func() gorgonia.Solver {
				return gorgonia.NewAdamSolver(gorgonia.WithL2Reg(0.01), gorgonia.WithBeta1(0.8))
			}},
	} {
		for _, dt := range dtypes {
			ours, theirs := newModel(dt, 1), newModel(dt, 1)
			our, their := tt.ours(), tt.theirs()
			if tt.name[:3] == "Mom" { // Gorgonia gives scalars no momentum
				ours, theirs = ours[:4], theirs[:4]
			}
			before := ours.weights()
			for step := range 50 { // with equal gradients
				theirs.setGrads(step)
				for i, p := range ours {
					copyValue(p.g, theirs[i].g)
				}
				if err := their.Step(theirs.valueGrads()); err != nil {
					t.Fatal(err)
				}
				if err := our.Step(ours.valueGrads()); err != nil {
					t.Fatal(err)
				}
			}
			checkClose(t, fmt.Sprintf("%s, %v", tt.name, dt), ours.weights(), theirs.weights(), 1e-6)
			after := ours.weights()
			moved := times(before, func(i int, x float64) float64 { return x - after[i] })
			if norm(moved) < 1e-2*norm(before) {
				t.Errorf("%s: the weights moved by %v only", tt.name, norm(moved))
			}
		}
	}
}

func copyValue(to, from gorgonia.Value) {
	a, b := mustMemory(to), mustMemory(from)
	copy(a.f32, b.f32)
	copy(a.f64, b.f64)
}

// Excluded by default are, in LARS and LAMB, biases and scalars; elsewhere none.
func TestVectors(t *testing.T) {
	for _, tt := range []struct {
		shape tensor.Shape
		want  bool
	}{
		{tensor.Shape{}, true},
		{tensor.Shape{1}, true},
		{tensor.Shape{7}, true},
		{tensor.Shape{1, 7}, true},
		{tensor.Shape{1, 7, 1, 1}, true},
		{tensor.Shape{2, 7}, false},
		{tensor.Shape{3, 1, 3}, false},
	} {
		if got := Vectors("", tt.shape); got != tt.want {
			t.Errorf("Vectors(%v) = %t, want %t", tt.shape, got, tt.want)
		}
	}
}
