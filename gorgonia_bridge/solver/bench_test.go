package solver

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// largeModel is the perceptron 784-512-512-512-512-10: 1.2 million parameters.
func largeModel() model {
	var m model
	widths := []int{784, 512, 512, 512, 512, 10}
	rng := rand.New(rand.NewPCG(1, 1))
	for i, w := range widths[1:] {
		m = append(m, newParam("w"+string(rune('0'+i)), tensor.Float32, widths[i], w), newParam("b"+string(rune('0'+i)), tensor.Float32, 1, w))
	}
	for _, p := range m {
		fill(p.w, rng, 0.05)
	}
	return m
}

// A bout is one solver that trains the large model.
type bout struct {
	model  model
	solver gorgonia.Solver
	grads  []gorgonia.Value
	times  []time.Duration
}

func newBout(s gorgonia.Solver) *bout {
	b := &bout{model: largeModel(), solver: s}
	rng := rand.New(rand.NewPCG(2, 2))
	for _, p := range b.model {
		g := newParam("", tensor.Float32, p.w.Shape()...).g
		fill(g, rng, 0.01)
		b.grads = append(b.grads, g)
	}
	return b
}

// step times one Step; its gradients are new.
func (b *bout) step(t testing.TB) {
	for i, p := range b.model {
		copyValue(p.g, b.grads[i])
	}
	model := b.model.valueGrads()
	start := time.Now()
	if err := b.solver.Step(model); err != nil {
		t.Fatal(err)
	}
	b.times = append(b.times, time.Since(start))
}

func (b *bout) median() time.Duration {
	slices.Sort(b.times)
	return b.times[len(b.times)/2]
}

// BenchmarkAgainstGorgonia lets both take turns, so that both see the same
// machine, and reports the medians and their ratio.
func BenchmarkAgainstGorgonia(b *testing.B) {
	for _, tt := range []struct {
		name   string
		ours   func() *Solver
		theirs func() gorgonia.Solver
	}{
		{"solver=Adam", func() *Solver { return NewAdam() }, func() gorgonia.Solver { return gorgonia.NewAdamSolver() }},
		{"solver=Momentum", func() *Solver { return NewMomentum() }, func() gorgonia.Solver { return gorgonia.NewMomentum() }},
		{"solver=SGD", func() *Solver { return NewSGD() }, func() gorgonia.Solver { return gorgonia.NewVanillaSolver() }},
		{"solver=RMSProp", func() *Solver { return NewRMSProp() }, func() gorgonia.Solver { return gorgonia.NewRMSPropSolver() }},
	} {
		b.Run(tt.name, func(b *testing.B) {
			ours, theirs := newBout(tt.ours()), newBout(tt.theirs())
			for b.Loop() {
				ours.step(b)
				theirs.step(b)
			}
			b.ReportMetric(ours.median().Seconds()*1e3, "ms/ours")
			b.ReportMetric(theirs.median().Seconds()*1e3, "ms/gorgonia")
			b.ReportMetric(theirs.median().Seconds()/ours.median().Seconds(), "times")
			b.ReportMetric(0, "ns/op")
			checkClose(b, "weights", ours.model.weights(), theirs.model.weights(), 1e-6*math.Sqrt(float64(len(ours.times))))
		})
	}
}

// BenchmarkStep is every solver with the options of the tests, and all that
// looks at the whole gradient first.
func BenchmarkStep(b *testing.B) {
	for name, newSolver := range solvers {
		b.Run("solver="+name, func(b *testing.B) {
			bout := newBout(newSolver(WithClipNorm(1), WithLearnRate(0.0001)))
			elements := 0
			for _, p := range bout.model {
				elements += mustMemory(p.w).len()
			}
			b.SetBytes(int64(4 * elements))
			b.ReportAllocs()
			for b.Loop() {
				bout.step(b)
			}
			b.ReportMetric(bout.median().Seconds()*1e3, "ms/median")
		})
	}
}
