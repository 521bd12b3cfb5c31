package solver

import (
	"flag"
	"math"
	"math/rand/v2"
	"testing"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// A task is to learn what a fixed random network of 32-48-10 answers, with a
// perceptron of 32-256-256-10.
type task struct{ teacher [2][]float32 }

const (
	inputs  = 32
	classes = 10
)

func newTask() *task {
	rng := rand.New(rand.NewPCG(1, 1))
	k := &task{}
	for i, dims := range [][2]int{{inputs, 48}, {48, classes}} {
		k.teacher[i] = make([]float32, dims[0]*dims[1])
		for j := range k.teacher[i] {
			k.teacher[i][j] = float32(rng.NormFloat64() / math.Sqrt(float64(dims[0])) * 1.5)
		}
	}
	return k
}

// sample writes a row and returns its class.
func (k *task) sample(rng *rand.Rand, x []float32) int {
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	h := dense(x, k.teacher[0], nil, func(y float32) float32 { return float32(math.Tanh(float64(y))) })
	return argmax(dense(h, k.teacher[1], nil, func(y float32) float32 { return y }))
}

func dense(x, w, b []float32, f func(float32) float32) []float32 {
	y := make([]float32, len(w)/len(x))
	copy(y, b)
	for i, v := range x {
		for j, u := range w[i*len(y) : (i+1)*len(y)] {
			y[j] += v * u
		}
	}
	for i := range y {
		y[i] = f(y[i])
	}
	return y
}

func argmax(x []float32) int {
	best := 0
	for i, v := range x {
		if v > x[best] {
			best = i
		}
	}
	return best
}

// A student is a network that learns the task in batches.
type student struct {
	task   *task
	x, y   *tensor.Dense
	params gorgonia.Nodes
	vm     gorgonia.VM
}

func newStudent(t testing.TB, k *task, batch int) *student {
	t.Helper()
	g := gorgonia.NewGraph()
	s := &student{task: k}
	s.x = tensor.New(tensor.WithShape(batch, inputs), tensor.Of(tensor.Float32))
	s.y = tensor.New(tensor.WithShape(batch, classes), tensor.Of(tensor.Float32))
	out := gorgonia.NodeFromAny(g, s.x, gorgonia.WithName("x"))
	rng := rand.New(rand.NewPCG(2, 2))
	for i, width := range []int{256, 256, classes} {
		in := out.Shape()[1]
		w := newParam("w"+string(rune('0'+i)), tensor.Float32, in, width)
		b := newParam("b"+string(rune('0'+i)), tensor.Float32, 1, width)
		fill(w.w, rng, math.Sqrt(2/float64(in)))
		wn, bn := gorgonia.NodeFromAny(g, w.w, gorgonia.WithName(w.name)), gorgonia.NodeFromAny(g, b.w, gorgonia.WithName(b.name))
		s.params = append(s.params, wn, bn)
		out = gorgonia.Must(gorgonia.BroadcastAdd(gorgonia.Must(gorgonia.Mul(out, wn)), bn, nil, []byte{0}))
		if width != classes {
			out = gorgonia.Must(gorgonia.Rectify(out))
		}
	}
	y := gorgonia.NodeFromAny(g, s.y, gorgonia.WithName("y"))
	log := gorgonia.Must(gorgonia.Log(gorgonia.Must(gorgonia.SoftMax(out))))
	loss := gorgonia.Must(gorgonia.Neg(gorgonia.Must(gorgonia.Sum(gorgonia.Must(gorgonia.HadamardProd(y, log))))))
	if _, err := gorgonia.Grad(loss, s.params...); err != nil {
		t.Fatal(err)
	}
	s.vm = gorgonia.NewTapeMachine(g, gorgonia.BindDualValues(s.params...))
	return s
}

// learn takes samples in batches.
func (s *student) learn(t testing.TB, samples int, seed uint64, solver gorgonia.Solver) {
	t.Helper()
	defer s.vm.Close()
	rng := rand.New(rand.NewPCG(seed, 3))
	batch := s.x.Shape()[0]
	for range samples / batch {
		s.y.Zero()
		for row := range batch {
			class := s.task.sample(rng, s.x.Float32s()[row*inputs:(row+1)*inputs])
			s.y.Float32s()[row*classes+class] = 1
		}
		if err := s.vm.RunAll(); err != nil {
			t.Fatal(err)
		}
		if err := solver.Step(gorgonia.NodesToValueGrads(s.params)); err != nil {
			t.Fatal(err)
		}
		s.vm.Reset()
	}
}

// accuracy is in percent, over samples that were not learned from.
func (s *student) accuracy() float64 {
	const samples = 10000
	rng := rand.New(rand.NewPCG(99, 99))
	right := 0
	x := make([]float32, inputs)
	for range samples {
		class := s.task.sample(rng, x)
		h := x
		for i := 0; i < len(s.params); i += 2 {
			w, b := mustMemory(s.params[i].Value()).f32, mustMemory(s.params[i+1].Value()).f32
			h = dense(h, w, b, func(y float32) float32 { return max(y, 0) })
		}
		if argmax(h) == class {
			right++
		}
	}
	return 100 * float64(right) / samples
}

// A recipe trains with k times the base's batch of 32 for so many steps.
type recipe struct {
	name string
	k    int
	make func(steps int, o ...Option) *Solver
}

const baseRate = 0.02

var (
	base    = recipe{"base", 1, unscaled}
	control = recipe{"16× batch, the rate of the base", 16, unscaled}
	linear  = recipe{"16× batch, linear scaling", 16, scaled(16)}
	lars    = recipe{"16× batch, LARS", 16, layered(1)}

	linear64 = recipe{"64× batch, linear scaling", 64, scaled(64)}
	lars64   = recipe{"64× batch, LARS", 64, layered(2)}
	lamb64   = recipe{"64× batch, LAMB", 64, func(steps int, o ...Option) *Solver {
		return NewLAMB(append(o, WithSchedule(WarmUp(Polynomial(0.03, 0, steps, 1), steps/20)))...)
	}}
)

func unscaled(steps int, o ...Option) *Solver {
	return NewMomentum(append(o, WithSchedule(WarmUp(Cosine(baseRate, 0, steps), steps/20)))...)
}

func scaled(k float64) func(int, ...Option) *Solver {
	return func(steps int, o ...Option) *Solver {
		return NewMomentum(append(o, WithSchedule(LinearScaling(Cosine(baseRate, 0, steps), k, steps/20)))...)
	}
}

func layered(rate float64) func(int, ...Option) *Solver {
	return func(steps int, o ...Option) *Solver {
		return NewLARS(append(o, WithTrust(0.02), WithSchedule(WarmUp(Polynomial(rate, 0, steps, 2), steps/20)))...)
	}
}

// train returns the accuracy after as many samples, the mean over seeds.
func (r recipe) train(t *testing.T, k *task, samples, seeds int) float64 {
	t.Helper()
	sum := 0.0
	for seed := range seeds {
		batch := 32 * r.k
		s := newStudent(t, k, batch)
		s.learn(t, samples, uint64(5+seed), r.make(samples/batch, WithBatchSize(float64(batch))))
		sum += s.accuracy()
	}
	t.Logf("%-35s %.2f %%", r.name, sum/float64(seeds))
	return sum / float64(seeds)
}

var large = flag.Bool("large", false, "train large batches for as long as the published experiment, which takes minutes")

// Goyal et al.: 16 times the batch learns as well from the same samples with 16
// times the rate and a gradual warm-up, not with the rate as it was; 64 times
// does not any more, unless with LARS or LAMB. The short form has a quarter of
// the samples, 94 large steps, which costs linear scaling a little.
func TestLargeBatches(t *testing.T) {
	if testing.Short() || raceEnabled {
		t.Skip("trains for seconds, under the race detector for minutes, in one goroutine")
	}
	k := newTask()
	samples, seeds, near := 48000, 1, 2.0
	if *large {
		samples, seeds, near = 192000, 3, 0.7
	}
	atBase := base.train(t, k, samples, seeds)
	check := func(r recipe, lo, hi float64) float64 {
		t.Helper()
		got := r.train(t, k, samples, seeds)
		if got < lo || got > hi {
			t.Errorf("%s: %.2f %%, want %.2f to %.2f", r.name, got, lo, hi)
		}
		return got
	}
	check(control, 50, atBase-3)
	check(linear, atBase-near, 100)
	check(lars, atBase-near+0.7, 100)
	if *large {
		broken := check(linear64, 50, atBase-1)
		check(lars64, broken, 100)
		check(lamb64, broken+1, 100)
	}
}
