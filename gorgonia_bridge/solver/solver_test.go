package solver

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// After the first steps a Step takes no memory, whatever happens in it.
func TestStepAllocatesNothing(t *testing.T) {
	for name, newSolver := range solvers {
		for _, dt := range dtypes {
			m := newModel(dt, 1)
			s := newSolver(WithSchedule(Cosine(0.01, 0, 1000)), WithClipNorm(1), WithClip(0.5), WithMaxSkipped(1000))
			m.train(t, s, 0, 2)
			model := m.valueGrads()
			if n := testing.AllocsPerRun(20, func() {
				if err := s.Step(model); err != nil {
					t.Fatal(err)
				}
			}); n != 0 {
				t.Errorf("%s, %v: %v allocations in a step", name, dt, n)
			}
			if n := testing.AllocsPerRun(20, func() {
				setFirst(m[1].g, math.NaN())
				if err := s.Step(model); err != nil {
					t.Fatal(err)
				}
			}); n != 0 {
				t.Errorf("%s, %v: %v allocations in a step that is skipped", name, dt, n)
			}
		}
	}
}

func setFirst(v gorgonia.Value, x float64) { mustMemory(v).set(0, x) }

// A step with a gradient that is not finite leaves everything as it was, and the
// next ones go on as if it had not been.
func TestNonFiniteStepsAreSkipped(t *testing.T) {
	for name, newSolver := range solvers {
		for _, dt := range dtypes {
			for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), 0x1p490} {
				m, clean := newModel(dt, 1), newModel(dt, 1)
				s, other := newSolver(), newSolver()
				for step := range 6 {
					clean.train(t, other, step, step+1)
					m.train(t, s, step, step+1)
					before, kept := m.weights(), s.State()
					m.setGrads(100)
					setFirst(m[step%len(m)].g, bad)
					if err := s.Step(m.valueGrads()); err != nil {
						t.Fatal(err)
					}
					if !slices.Equal(m.weights(), before) || !sameState(s.State(), kept) {
						t.Fatalf("%s, %v: a gradient with %v changes something", name, dt, bad)
					}
					for _, p := range m {
						if norm(values(p.g)) != 0 {
							t.Fatalf("%s, %v: a skipped step leaves %s a gradient", name, dt, p.name)
						}
					}
				}
				if !slices.Equal(m.weights(), clean.weights()) || s.Steps() != 6 || s.Skipped() != 6 {
					t.Errorf("%s, %v: after %d steps and %d skipped the weights are not those of 6 steps", name, dt, s.Steps(), s.Skipped())
				}
			}
		}
	}
}

func sameState(a, b map[string]Record) bool {
	for name, r := range a {
		q, ok := b[name]
		if !ok || q.Steps != r.Steps || len(q.Values) != len(r.Values) {
			return false
		}
		for what, x := range r.Values {
			if !slices.Equal(q.Values[what], x) {
				return false
			}
		}
	}
	return len(a) == len(b)
}

// Too many in a row are an error; a step in between makes them few again.
func TestTooManySkipped(t *testing.T) {
	m := newModel(tensor.Float32, 1)
	s := NewSGD(WithMaxSkipped(2))
	step := func(bad bool) error {
		m.setGrads(1)
		if bad {
			setFirst(m[3].g, math.NaN())
		}
		return s.Step(m.valueGrads())
	}
	for i, tt := range []struct{ bad, fails bool }{
		{true, false}, {true, false}, {false, false}, {true, false}, {true, false}, {true, true}, {true, true}, {false, false}, {true, false},
	} {
		err := step(tt.bad)
		if (err != nil) != tt.fails || err != nil && (!errors.Is(err, ErrNonFinite) || !strings.Contains(err.Error(), `"w2"`)) {
			t.Errorf("step %d: error %v, want one: %t", i, err, tt.fails)
		}
	}
	if s.Steps() != 2 || s.Skipped() != 7 {
		t.Errorf("%d steps, %d skipped", s.Steps(), s.Skipped())
	}
	if s = NewSGD(WithMaxSkipped(0)); step(true) == nil {
		t.Errorf("none may be skipped, and one is")
	}
}

// The weights move by the gradient as it is after batch size, norm, elements and
// decay, in this order.
func TestGradientIsPrepared(t *testing.T) {
	for _, tt := range []struct {
		name string
		opts []Option
		want []float64 // from weights 2, 4 and gradients 3, -4 in two parameters
	}{
		{"nothing", nil, []float64{3, -4}},
		{"batch", []Option{WithBatchSize(4)}, []float64{0.75, -1}},
		{"clip", []Option{WithClip(3.5)}, []float64{3, -3.5}},
		{"norm", []Option{WithClipNorm(1)}, []float64{0.6, -0.8}},
		{"norm not reached", []Option{WithClipNorm(5)}, []float64{3, -4}},
		{"batch, norm", []Option{WithClipNorm(1), WithBatchSize(2)}, []float64{0.6, -0.8}},
		{"batch, norm not reached", []Option{WithClipNorm(2.5), WithBatchSize(2)}, []float64{1.5, -2}},
		{"norm, clip", []Option{WithClip(0.7), WithClipNorm(1)}, []float64{0.6, -0.7}},
		{"all, decay", []Option{WithL2Reg(0.5), WithClip(0.7), WithBatchSize(2), WithClipNorm(1)}, []float64{1.6, 1.3}},
		{"decay", []Option{WithWeightDecay(0.5), WithClip(1)}, []float64{2, 1}},
		{"decay but for one", []Option{WithWeightDecay(0.5), WithL2Reg(0.25), WithExclude(isA)}, []float64{3, -1}},
	} {
		for _, dt := range dtypes {
			a, b := newParam("a", dt, 1), newParam("b", dt)
			for i, p := range []*param{a, b} {
				setFirst(p.w, []float64{2, 4}[i])
				setFirst(p.g, []float64{3, -4}[i])
			}
			s := NewSGD(append(tt.opts, WithLearnRate(0.125))...)
			if err := s.Step(model{b, a}.valueGrads()); err != nil {
				t.Fatal(err)
			}
			got := []float64{(2 - values(a.w)[0]) * 8, (4 - values(b.w)[0]) * 8}
			checkClose(t, tt.name, got, tt.want, tolerance(dt))
		}
	}
}

// All solvers see the gradient as batch size and clipping have left it: also in
// the norms of LARS and LAMB.
func TestAllSolversSeeThePreparedGradient(t *testing.T) {
	for name, newSolver := range solvers {
		for _, dt := range dtypes {
			for _, limit := range []float64{0.1, 1e9} {
				m, byHand := newModel(dt, 1), newModel(dt, 1)
				opts := []Option{WithBatchSize(4)}
				if limit < 1 {
					opts = append(opts, WithClip(limit))
				}
				s, other := newSolver(opts...), newSolver()
				for step := range 10 {
					m.setGrads(step)
					for i, p := range byHand {
						a := mustMemory(p.g)
						for j, x := range values(m[i].g) {
							a.set(j, max(-limit, min(limit, x/4)))
						}
					}
					if err := errors.Join(s.Step(m.valueGrads()), other.Step(byHand.valueGrads())); err != nil {
						t.Fatal(err)
					}
				}
				checkClose(t, name, m.weights(), byHand.weights(), tolerance(dt))
			}
		}
	}
}

func (a array) set(i int, x float64) {
	if a.f64 != nil {
		a.f64[i] = x
	} else {
		a.f32[i] = float32(x)
	}
}

// Without a norm of its own, be it of weights or of the gradient, a parameter
// moves at the common rate.
func TestTrustWithoutNorms(t *testing.T) {
	for _, tt := range []struct {
		s    *Solver
		w, g float64
		want float64
	}{
		{NewLARS(WithLearnRate(0.5), WithWeightDecay(0)), 0, 3, -1.5},
		{NewLARS(WithLearnRate(0.5), WithWeightDecay(0)), 3, 0, 3},
		{NewLARS(WithLearnRate(0.5), WithWeightDecay(0.1)), 0, 0, 0},
		{NewLAMB(WithLearnRate(0.5), WithWeightDecay(0)), 0, 3, -0.5},
		{NewLAMB(WithLearnRate(0.5), WithWeightDecay(0)), 3, 0, 3},
		{NewLAMB(WithLearnRate(0.5), WithWeightDecay(0.1)), 0, 0, 0},
	} {
		p := newParam("w", tensor.Float64, 2, 2)
		mustMemory(p.w).f64[1], mustMemory(p.g).f64[1] = tt.w, tt.g
		if err := tt.s.Step(model{p}.valueGrads()); err != nil {
			t.Fatal(err)
		}
		checkClose(t, tt.s.String(), values(p.w), []float64{0, tt.want, 0, 0}, 1e-6)
	}
}

// However small eps is, a weight without a gradient stays what it is.
func TestTinyEps(t *testing.T) {
	for _, newSolver := range []func(...Option) *Solver{NewAdam, NewRMSProp, NewLAMB} {
		for _, dt := range dtypes {
			s := newSolver(WithEps(math.SmallestNonzeroFloat64), WithExclude(Vectors))
			p := newParam("w", dt, 3)
			mustMemory(p.w).set(2, 3)
			for range 2 {
				setFirst(p.g, 1)
				if err := s.Step(model{p}.valueGrads()); err != nil {
					t.Fatal(err)
				}
			}
			if got := values(p.w); !(got[0] < 0) || got[1] != 0 || got[2] != 3 {
				t.Errorf("%v, %v: the weights are %v, want less than 0, 0 and 3", s, dt, got)
			}
		}
	}
}

// A gradient that has all but vanished makes the trust as large as a number can
// be, not larger: the weights stay finite, and those without a gradient stay.
func TestTrustInVanishingGradients(t *testing.T) {
	for _, s := range []*Solver{NewLARS(WithWeightDecay(0)), NewLAMB(WithWeightDecay(0), WithEps(1))} {
		p := newParam("w", tensor.Float32, 2, 2)
		w := mustMemory(p.w)
		copy(w.f32, []float32{1, 1, 1, 1})
		for range 2 {
			setFirst(p.g, 1e-43)
			if err := s.Step(model{p}.valueGrads()); err != nil {
				t.Fatal(err)
			}
		}
		if !(w.f32[0] <= 1 && w.f32[0] > 0.9) || !slices.Equal(w.f32[1:], []float32{1, 1, 1}) {
			t.Errorf("%v: the weights are %v", s, w.f32)
		}
	}
}

func isA(name string, _ tensor.Shape) bool { return name == "a" }

// Decay that is decoupled follows the schedule, and does not follow the gradient.
func TestWeightDecayFollowsTheRate(t *testing.T) {
	p := newParam("w", tensor.Float64, 2, 2)
	want := 3.0
	mustMemory(p.w).f64[3] = want
	s := NewAdamW(WithSchedule(StepDecay(0.1, 0.5, 2)), WithWeightDecay(0.2))
	for step := range 4 {
		mustMemory(p.g).f64[0] = 7 // element 3 has none
		if err := s.Step(model{p}.valueGrads()); err != nil {
			t.Fatal(err)
		}
		want *= 1 - 0.2*[]float64{0.1, 0.1, 0.05, 0.05}[step]
		if got := values(p.w)[3]; math.Abs(got-want) > 1e-15 {
			t.Errorf("after %d steps the weight is %v, want %v", step+1, got, want)
		}
	}
	if s.Rate() != 0.05 {
		t.Errorf("the rate is %v", s.Rate())
	}
}

// The order of the parameters does not matter.
func TestParametersAreKnownByName(t *testing.T) {
	for name, newSolver := range solvers {
		a, b := newModel(tensor.Float32, 1), newModel(tensor.Float32, 1)
		s, other := newSolver(WithClipNorm(1)), newSolver(WithClipNorm(1))
		for step := range 10 {
			a.train(t, s, step, step+1)
			slices.Reverse(b)
			b.train(t, other, step, step+1)
		}
		if !slices.Equal(a.weights(), b.weights()) || !sameState(s.State(), other.State()) {
			t.Errorf("%s: the order of the parameters makes a difference", name)
		}
	}
}

// A parameter that comes late begins like any other.
func TestLateParameterBeginsAnew(t *testing.T) {
	for name, newSolver := range solvers {
		early, late, alone := newModel(tensor.Float64, 1), newModel(tensor.Float64, 7)[:1], newModel(tensor.Float64, 7)[:1]
		late[0].name, alone[0].name = "v0", "v0"
		s, fresh := newSolver(), newSolver()
		early.train(t, s, 0, 20)
		late.train(t, s, 0, 5)
		alone.train(t, fresh, 0, 5)
		if !slices.Equal(late.weights(), alone.weights()) {
			t.Errorf("%s: a late parameter moves otherwise than one from the beginning", name)
		}
	}
}

// Two parameters may have one gradient: both see it.
func TestSharedGradient(t *testing.T) {
	for name, newSolver := range solvers {
		m := model{newParam("a", tensor.Float32, 3, 3), newParam("b", tensor.Float32, 3, 3)}
		copyValue(m[0].w, newModel(tensor.Float32, 1)[3].w)
		copyValue(m[1].w, m[0].w)
		m[1].g = m[0].g
		m.train(t, newSolver(), 0, 3)
		if a, b := values(m[0].w), values(m[1].w); !slices.Equal(a, b) {
			t.Errorf("%s: equal parameters with one gradient have become %v and %v", name, a, b)
		}
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for _, tt := range []struct {
		s    *Solver
		want string
	}{
		{NewSGD(WithMomentum(0.9)), "SGD has no option WithMomentum"},
		{NewAdamW(WithL2Reg(0.1)), "AdamW has no option WithL2Reg"},
		{NewLAMB(WithTrust(0.1)), "LAMB has no option WithTrust"},
		{NewAdam(WithLearnRate(-1)), "WithLearnRate is -1"},
		{NewAdam(WithLearnRate(math.NaN())), "WithLearnRate is NaN"},
		{NewAdam(WithLearnRate(math.Inf(1))), "WithLearnRate is +Inf"},
		{NewAdam(WithBeta1(1)), "WithBeta1 is 1, want 0 ≤ x < 1"},
		{NewAdam(WithBeta2(-0.1)), "WithBeta2 is -0.1"},
		{NewAdam(WithEps(0)), "WithEps is 0"},
		{NewRMSProp(WithRho(2)), "WithRho is 2"},
		{NewLARS(WithTrust(0)), "WithTrust is 0"},
		{NewSGD(WithClip(0)), "WithClip is 0"},
		{NewSGD(WithClipNorm(-2)), "WithClipNorm is -2"},
		{NewSGD(WithBatchSize(0.5)), "WithBatchSize is 0.5"},
		{NewSGD(WithWeightDecay(-1)), "WithWeightDecay is -1"},
		{NewSGD(WithMaxSkipped(-1)), "WithMaxSkipped is -1"},
		{NewSGD(WithSchedule(nil)), "WithSchedule is nil"},
		{NewSGD(WithExclude(nil)), "WithExclude is nil"},
		{NewSGD(Option{}), "an empty option for SGD"},
		{NewSGD(WithSchedule(func(int) float64 { return math.NaN() })), "rate of NaN for step 0"},
		{NewSGD(WithSchedule(Polynomial(1, -1, 0, 1))), "rate of -1 for step 0"},
	} {
		m := newModel(tensor.Float32, 1)
		before := m.weights()
		m.setGrads(1)
		err := tt.s.Step(m.valueGrads())
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("error %v, want it to say %q", err, tt.want)
		}
		if !slices.Equal(m.weights(), before) {
			t.Errorf("%s: the weights have moved", tt.want)
		}
	}
}

type nameless struct{ *param }

func (nameless) Name() string { return "" }

func TestStepRefuses(t *testing.T) {
	with := func(change func(p *param)) model {
		m := newModel(tensor.Float32, 1)
		m.setGrads(1)
		change(m[1])
		return m
	}
	s := NewAdam()
	for _, tt := range []struct {
		name string
		m    model
		want string
	}{
		{"no value", with(func(p *param) { p.w = nil }), `"b0" has no value`},
		{"no gradient", with(func(p *param) { p.g = nil }), `gradient of "b0" has no value`},
		{"integers", with(func(p *param) { p.w = gorgonia.NewI(1) }), `"b0" is a *gorgonia.I of int`},
		{"a tensor of integers", with(func(p *param) { p.w = tensor.New(tensor.WithShape(2), tensor.Of(tensor.Int)) }), `"b0" is of int`},
		{"other type", with(func(p *param) { p.g = tensor.New(tensor.WithShape(1, 13), tensor.Of(tensor.Float64)) }), `gradient of "b0" is (1, 13) of float64`},
		{"other length", with(func(p *param) { p.g = tensor.New(tensor.WithShape(1, 12), tensor.Of(tensor.Float32)) }), `gradient of "b0" is (1, 12) of float32`},
		{"a view", with(func(p *param) { p.g = view(t) }), `gradient of "b0" is a view`},
		{"a slice of a transposed one", with(func(p *param) { p.w, p.g = tensor.New(tensor.WithShape(3, 2, 4), tensor.Of(tensor.Float32)), turned(t) }), `gradient of "b0" is a view (3, 2, 4)`},
		{"column order", with(func(p *param) {
			p.w = tensor.New(tensor.WithShape(2, 3), tensor.Of(tensor.Float32), tensor.AsFortran(nil))
			p.g = tensor.New(tensor.WithShape(2, 3), tensor.Of(tensor.Float32))
		}), `columns first false; the parameter is (2, 3) of float32, true`},
		{"a name twice", with(func(p *param) { p.name = "w0" }), `two parameters are named "w0"`},
		{"a long name", with(func(p *param) { p.name = strings.Repeat("x", maxName+1) }), `a name of 1025 bytes`},
		{"twice the same", slices.Repeat(newModel(tensor.Float32, 1)[:2], 2), `two parameters are named "w0"`},
	} {
		var before []float64
		if tt.m[1].w != nil {
			before = values(tt.m[0].w)
		}
		err := s.Step(tt.m.valueGrads())
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want it to say %q", tt.name, err, tt.want)
		}
		if before != nil && !slices.Equal(values(tt.m[0].w), before) {
			t.Errorf("%s: a parameter has moved", tt.name)
		}
	}
	newModel(tensor.Float32, 1).train(t, s, 0, 1)
	for _, p := range []*param{newParam("w0", tensor.Float32, 5), newParam("w0", tensor.Float64, 7, 13)} {
		if err := s.Step(model{p}.valueGrads()); err == nil || !strings.Contains(err.Error(), `what is kept of it 91 of 4 bytes`) {
			t.Errorf("a parameter that has become %v of %v: error %v", p.w.Shape(), p.w.Dtype(), err)
		}
	}
	p := newParam("w", tensor.Float32, 2)
	if err := s.Step([]gorgonia.ValueGrad{nameless{p}}); err == nil || !strings.Contains(err.Error(), "parameter 0, a solver.nameless, has no name") {
		t.Errorf("without a name: error %v", err)
	}
}

// view returns 1×13 elements that are not side by side.
func view(t *testing.T) gorgonia.Value {
	d := tensor.New(tensor.WithShape(13, 2), tensor.Of(tensor.Float32))
	v, err := d.Slice(nil, gorgonia.S(0))
	if err != nil {
		t.Fatal(err)
	}
	return v.(*tensor.Dense)
}

// turned returns 3×2×4 elements that are side by side, but in another order.
func turned(t *testing.T) gorgonia.Value {
	d := tensor.New(tensor.WithShape(3, 4, 2), tensor.Of(tensor.Float32))
	if err := d.T(0, 2, 1); err != nil {
		t.Fatal(err)
	}
	v, err := d.Slice(gorgonia.S(0, 3))
	if err != nil {
		t.Fatal(err)
	}
	return v.(*tensor.Dense)
}

// A parameter may lie in memory in any order that its gradient has, too.
func TestOrdersAreTaken(t *testing.T) {
	for _, dims := range [][]int{{}, {1}, {1, 1}, {1, 5}, {5, 1}, {2, 3}, {2, 1, 3}} {
		for name, order := range map[string]tensor.ConsOpt{"rows": nil, "columns": tensor.AsFortran(nil)} {
			value := func() *tensor.Dense {
				opts := []tensor.ConsOpt{tensor.WithShape(dims...), tensor.Of(tensor.Float32)}
				if order != nil {
					opts = append(opts, order)
				}
				return tensor.New(opts...)
			}
			p := &param{name: "w", w: value(), g: value()}
			mustMemory(p.g).set(mustMemory(p.g).len()-1, -1)
			if err := NewSGD(WithLearnRate(1)).Step(model{p}.valueGrads()); err != nil {
				t.Errorf("%v by %s: %v", dims, name, err)
			} else if w := values(p.w); w[len(w)-1] != 1 {
				t.Errorf("%v by %s has become %v", dims, name, w)
			}
		}
	}
}

// What a solver says of itself tells its options apart, and schedules.
func TestString(t *testing.T) {
	if got, want := NewAdamW(WithClipNorm(1)).String(), "AdamW(beta1 0.9, beta2 0.999, eps 1e-08, weight decay 0.01, clip norm 1, batch size 1, max skipped 10, rate 0.001)"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	seen := make(map[string]bool)
	for _, s := range []*Solver{
		NewSGD(), NewSGD(WithLearnRate(0.1)), NewSGD(WithSchedule(Constant(0.1))), NewSGD(WithSchedule(Cosine(0.1, 0, 1000))),
		NewSGD(WithSchedule(Cosine(0.1, 0, 1001))), NewMomentum(), NewMomentum(WithNesterov()), NewSGD(WithClip(-1)),
	} {
		if seen[s.String()] {
			t.Errorf("two solvers are %s", s)
		}
		seen[s.String()] = true
	}
	if a, b := NewSGD(WithSchedule(Cosine(1, 0, 9))), NewSGD(WithSchedule(Cosine(1, 0, 9))); a.String() != b.String() {
		t.Errorf("equal solvers are %s and %s", a, b)
	}
}

// A batch that is three times as large makes the rate three times as large, after
// a warm-up; what it cannot be is an error.
func TestRateFollowsTheBatch(t *testing.T) {
	for i, want := range []float64{0.1, 0.15, 0.2, 0.25, 0.3, 0.3} {
		h := hyper{rate: 0.1}
		if err := WithBatchScale(func() float64 { return 3 }, 4).set(&h); err != nil {
			t.Fatal(err)
		}
		if got, err := h.rateAt(i); err != nil || math.Abs(got-want) > 1e-15 {
			t.Errorf("step %d: rate %v, %v; want %v", i, got, err, want)
		}
	}
	times := 1.0
	m, plain := newModel(tensor.Float64, 1), newModel(tensor.Float64, 1)
	s, fast := NewSGD(WithLearnRate(0.1), WithBatchScale(func() float64 { return times }, 0)), NewSGD(WithLearnRate(0.1))
	m.train(t, s, 0, 2)
	plain.train(t, fast, 0, 2)
	if !slices.Equal(m.weights(), plain.weights()) {
		t.Error("a batch of the usual size changes the rate")
	}
	times = 4
	m.train(t, s, 2, 4)
	plain.train(t, NewSGD(WithLearnRate(0.4)), 2, 4)
	if !slices.Equal(m.weights(), plain.weights()) {
		t.Error("four times the batch is not four times the rate")
	}
	times = math.NaN()
	if err := s.Step(m.valueGrads()); err == nil || !strings.Contains(err.Error(), "NaN times the usual") {
		t.Errorf("error %v", err)
	}
	if err := NewSGD(WithBatchScale(nil, 1)).Step(m.valueGrads()); err == nil {
		t.Error("no function is accepted")
	}
}
