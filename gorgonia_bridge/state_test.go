package bridge

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"slices"
	"strings"
	"testing"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/ringrun/ringrun/elastic"
)

// All of Gorgonia's own solvers, with options other than the defaults, as
// functions of a rate, so that a test can make two that differ.
var ownSolvers = []struct {
	name    string
	make    func(rate float64) gorgonia.Solver
	scalars bool // can train scalar parameters
	dtypes  []tensor.Dtype
}{
	{"Vanilla", func(r float64) gorgonia.Solver {
		return gorgonia.NewVanillaSolver(gorgonia.WithLearnRate(r), gorgonia.WithL2Reg(0.01), gorgonia.WithClip(2))
	}, true, both},
	{"Momentum", func(r float64) gorgonia.Solver {
		return gorgonia.NewMomentum(gorgonia.WithLearnRate(r), gorgonia.WithMomentum(0.8))
	}, true, both},
	{"Adam", func(r float64) gorgonia.Solver {
		return gorgonia.NewAdamSolver(gorgonia.WithLearnRate(r), gorgonia.WithBeta1(0.8), gorgonia.WithL1Reg(0.001))
	}, true, both},
	{"RMSProp", func(r float64) gorgonia.Solver {
		return gorgonia.NewRMSPropSolver(gorgonia.WithLearnRate(r), gorgonia.WithRho(0.95))
	}, true, both},
	{"AdaGrad", func(float64) gorgonia.Solver { return gorgonia.NewAdaGradSolver() }, true, both},
	{"AdamW", func(r float64) gorgonia.Solver {
		return gorgonia.NewAdamW(gorgonia.WithLearnRate(r), gorgonia.WithRho(0.1))
	}, false, both},
	{"BarzilaiBorwein", func(r float64) gorgonia.Solver {
		return gorgonia.NewBarzilaiBorweinSolver(gorgonia.WithLearnRate(r), gorgonia.WithClip(0.5))
	}, false, []tensor.Dtype{tensor.Float64}}, // Gorgonia's own fails on float32
}

var both = []tensor.Dtype{tensor.Float32, tensor.Float64}

// alone makes a worker that is a group of one, with one pass in each step.
func alone(t testing.TB, o netOptions, s gorgonia.Solver) *worker {
	t.Helper()
	_, comms := newComms(t, 1)
	o.kind, o.rows = tapeBound, shard
	w := newWorker(t, o, s, comms[0])
	w.group.weights = elastic.Weights{Mine: 1, Total: 1}
	return w
}

func (w *worker) train(t testing.TB, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		if err := w.pass(shard*i, shard*(i+1), w.solver); err != nil {
			t.Fatal(err)
		}
	}
}

func (w *worker) save(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := w.bridge.Save(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// A peer that begins with other weights and another rate loads the state of one
// that has trained, in a graph, machine and solver of its own, and both go on to
// the same bits.
func TestContinuationIsBitIdentical(t *testing.T) {
	for _, s := range ownSolvers {
		for _, dtype := range s.dtypes {
			for _, before := range []int{0, 1, 10} {
				t.Run(fmt.Sprintf("%s/%v/%d", s.name, dtype, before), func(t *testing.T) {
					o := netOptions{dtype: dtype, seed: 1, noScalar: !s.scalars}
					a := alone(t, o, s.make(0.02))
					o.seed = 2
					b := alone(t, o, s.make(0.5))
					b.train(t, 100, 103)
					a.train(t, 0, before)
					state := a.save(t)
					if err := b.bridge.Load(bytes.NewReader(state)); err != nil {
						t.Fatal(err)
					}
					if got := b.save(t); !bytes.Equal(got, state) {
						t.Fatalf("what was loaded saves to %d other bytes", len(got))
					}
					a.train(t, before, before+10)
					b.train(t, before, before+10)
					if !bytes.Equal(a.save(t), b.save(t)) || a.bridge.ParamsHash() != b.bridge.ParamsHash() {
						t.Errorf("10 steps after loading the peers differ:\n%v\n%v", a.weights(t), b.weights(t))
					}
				})
			}
		}
	}
}

// Without the solver's part the continuation would differ, so the test above
// does see it.
func TestContinuationNeedsSolverState(t *testing.T) {
	for _, s := range ownSolvers {
		if s.name == "Vanilla" || s.name == "AdamW" { // keeps nothing; never moves a weight
			continue
		}
		o := netOptions{dtype: tensor.Float64, seed: 1, noScalar: !s.scalars}
		a, b := alone(t, o, s.make(0.02)), alone(t, o, s.make(0.02))
		a.train(t, 0, 10)
		for i, p := range b.bridge.params {
			if err := p.set(a.params[i].Value()); err != nil {
				t.Fatal(err)
			}
		}
		a.train(t, 10, 20)
		b.train(t, 10, 20)
		if a.bridge.ParamsHash() == b.bridge.ParamsHash() {
			t.Errorf("%s: parameters alone continue to the same bits", s.name)
		}
	}
}

func TestStateOfColumnMajorParameter(t *testing.T) {
	make1 := func(first float64) (*Bridge, *gorgonia.Node) {
		g := gorgonia.NewGraph()
		v := tensor.New(tensor.WithShape(2, 3), tensor.AsFortran([]float64{first, 2, 3, 4, 5, 6}))
		n := gorgonia.NodeFromAny(g, v, gorgonia.WithName("w"))
		b, err := attach(&testGroup{}, gorgonia.Nodes{n})
		if err != nil {
			t.Fatal(err)
		}
		return b, n
	}
	a, na := make1(1)
	b, nb := make1(9)
	var state bytes.Buffer
	if err := a.Save(&state); err != nil {
		t.Fatal(err)
	}
	if err := b.Load(&state); err != nil {
		t.Fatal(err)
	}
	if !gorgonia.ValueEq(na.Value(), nb.Value()) || a.ParamsHash() != b.ParamsHash() {
		t.Errorf("loaded\n%v\nwant\n%v", nb.Value(), na.Value())
	}
}

// A state that does not fit is refused by name, and nothing of it stays.
func TestLoadRefuses(t *testing.T) {
	o := netOptions{dtype: tensor.Float32, seed: 1}
	adam := func() *worker { return alone(t, o, solvers["Adam"]()) }
	good := adam()
	good.train(t, 0, 2)
	state := good.save(t)
	flip := func(at int) []byte {
		b := bytes.Clone(state)
		b[at] ^= 1
		return b
	}
	wider, other := o, o
	wider.hidden = 7
	other.dtype = tensor.Float64
	for _, tt := range []struct {
		name  string
		w     *worker
		state []byte
		want  string
	}{
		{"empty", adam(), nil, "truncated"},
		{"truncated", adam(), state[:len(state)-5], "truncated"},
		{"something else", adam(), []byte("PK\x03\x04 and so on"), `begins with "PK\x03\x04", want "RRST"`},
		{"version", adam(), flip(4), "version 0, this is version 1"},
		{"a flipped bit in a weight", adam(), flip(60), "checksum"},
		{"other shape", alone(t, wider, solvers["Adam"]()), state, `"w0"`},
		{"other type", alone(t, other, solvers["Adam"]()), state, `the value of "w0" has 4-byte elements`},
		{"other solver", alone(t, o, solvers["SGD"]()), state, `solver "*gorgonia.AdamSolver", here it is "*gorgonia.VanillaSolver"`},
	} {
		tt.w.train(t, 0, 1)
		before := tt.w.save(t)
		err := tt.w.bridge.Load(bytes.NewReader(tt.state))
		if !errors.Is(err, ErrState) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want ErrState that says %q", tt.name, err, tt.want)
		}
		if !bytes.Equal(tt.w.save(t), before) {
			t.Errorf("%s: the state changed although it was refused", tt.name)
		}
	}
}

func TestSaveRefusesUnknownSolver(t *testing.T) {
	w := alone(t, netOptions{dtype: tensor.Float32, seed: 1}, ownSolver{})
	if err := w.bridge.Save(&bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), "ownSolver") {
		t.Errorf("Save with a solver of the user: %v", err)
	}
	if err := w.bridge.Load(&bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), "ownSolver") {
		t.Errorf("Load with a solver of the user: %v", err)
	}
}

type brokenWriter struct{ left int }

var errFull = errors.New("disk full")

func (w *brokenWriter) Write(b []byte) (int, error) {
	if w.left -= len(b); w.left < 0 {
		return 0, errFull
	}
	return len(b), nil
}

func TestSaveReportsWriteErrors(t *testing.T) {
	w := alone(t, netOptions{dtype: tensor.Float64, seed: 1}, solvers["Adam"]())
	w.train(t, 0, 1)
	for left := range len(w.save(t)) {
		if err := w.bridge.Save(&brokenWriter{left}); !errors.Is(err, errFull) {
			t.Fatalf("room for %d bytes: error %v, want %v", left, err, errFull)
		}
	}
}

func TestParamsHashIsOfTheBytesInOrder(t *testing.T) {
	w := alone(t, netOptions{dtype: tensor.Float32, seed: 1}, solvers["SGD"]())
	var got bytes.Buffer
	if err := w.bridge.WriteParams(&got); err != nil {
		t.Fatal(err)
	}
	var want []byte
	for _, x := range w.weights(t) {
		bits := math.Float32bits(float32(x))
		want = append(want, byte(bits), byte(bits>>8), byte(bits>>16), byte(bits>>24))
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Errorf("wrote %d bytes, want %d, the elements in order", got.Len(), len(want))
	}
	hash := w.bridge.ParamsHash()
	w.train(t, 0, 1)
	if len(hash) != 64 || hash == w.bridge.ParamsHash() {
		t.Errorf("hash %s before a step, %s after it", hash, w.bridge.ParamsHash())
	}
}

// Long arrays are encoded in pieces.
func TestArrayEncoding(t *testing.T) {
	for _, dtype := range both {
		for _, n := range []int{0, 1, ioBytes / 8, ioBytes / 4, ioBytes/4 + 1, 3*ioBytes/4 + 7} {
			a, b := newArray(dtype, n), newArray(dtype, n)
			for i := range n {
				a.set(i, math.Sqrt(float64(i)))
			}
			var buf bytes.Buffer
			if err := a.writeTo(&buf); err != nil {
				t.Fatal(err)
			}
			if buf.Len() != n*int(dtype.Size()) {
				t.Errorf("%d %v take %d bytes", n, dtype, buf.Len())
			}
			if err := b.readFrom(&buf); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(a.f32, b.f32) || !slices.Equal(a.f64, b.f64) {
				t.Errorf("%d %v come back otherwise", n, dtype)
			}
		}
	}
}

// Whatever the bytes, Load ends, and what it accepts it saves again to the same
// bytes. The harness puts the checksum right, or no mutation would get past it.
func FuzzLoad(f *testing.F) {
	for _, solver := range []string{"SGD", "Adam"} {
		w := alone(f, netOptions{dtype: tensor.Float32, seed: 1, hidden: 1}, solvers[solver]())
		f.Add(solver == "Adam", w.save(f))
		w.train(f, 0, 1)
		f.Add(solver == "Adam", w.save(f))
	}
	workers := map[bool]*worker{
		false: alone(f, netOptions{dtype: tensor.Float32, seed: 1, hidden: 1}, solvers["SGD"]()),
		true:  alone(f, netOptions{dtype: tensor.Float32, seed: 1, hidden: 1}, solvers["Adam"]()),
	}
	f.Fuzz(func(t *testing.T, adam bool, b []byte) {
		if n := len(b) - 4; n >= 0 {
			sum := crc32.Checksum(b[:n], castagnoli)
			b = append(bytes.Clone(b[:n]), byte(sum), byte(sum>>8), byte(sum>>16), byte(sum>>24))
		}
		w := workers[adam]
		if err := w.bridge.Load(bytes.NewReader(b)); err != nil {
			if !errors.Is(err, ErrState) {
				t.Errorf("error %v, want ErrState", err)
			}
			return
		}
		if got := w.save(t); !bytes.HasPrefix(b, got) {
			t.Errorf("accepted\n%x\nand saves\n%x", b, got)
		}
	})
}
