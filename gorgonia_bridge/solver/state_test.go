package solver

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

func save(t testing.TB, s *Solver) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := s.Save(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// A net is a small perceptron in a graph of its own.
type net struct {
	params gorgonia.Nodes
	x, y   *tensor.Dense
	vm     gorgonia.VM
}

func newNet(t testing.TB, dt tensor.Dtype) *net {
	t.Helper()
	g := gorgonia.NewGraph()
	n := &net{x: tensor.New(tensor.WithShape(8, 5), tensor.Of(dt)), y: tensor.New(tensor.WithShape(8, 3), tensor.Of(dt))}
	rng := rand.New(rand.NewPCG(1, 1))
	param := func(name string, dims ...int) *gorgonia.Node {
		p := newParam(name, dt, dims...)
		fill(p.w, rng, 0.5)
		node := gorgonia.NodeFromAny(g, p.w, gorgonia.WithName(name))
		n.params = append(n.params, node)
		return node
	}
	x := gorgonia.NodeFromAny(g, n.x, gorgonia.WithName("x"))
	y := gorgonia.NodeFromAny(g, n.y, gorgonia.WithName("y"))
	h := gorgonia.Must(gorgonia.BroadcastAdd(gorgonia.Must(gorgonia.Mul(x, param("w0", 5, 11))), param("b0", 1, 11), nil, []byte{0}))
	out := gorgonia.Must(gorgonia.Mul(gorgonia.Must(gorgonia.Tanh(h)), param("w1", 11, 3)))
	s := gorgonia.NewScalar(g, dt, gorgonia.WithName("s"), gorgonia.WithValue(oneOf(dt)))
	n.params = append(n.params, s)
	loss := gorgonia.Must(gorgonia.Mean(gorgonia.Must(gorgonia.Square(gorgonia.Must(gorgonia.Sub(gorgonia.Must(gorgonia.HadamardProd(out, s)), y))))))
	if _, err := gorgonia.Grad(loss, n.params...); err != nil {
		t.Fatal(err)
	}
	n.vm = gorgonia.NewTapeMachine(g, gorgonia.BindDualValues(n.params...))
	t.Cleanup(func() { n.vm.Close() })
	return n
}

func oneOf(dt tensor.Dtype) any {
	if dt == tensor.Float32 {
		return float32(1)
	}
	return 1.0
}

func (n *net) train(t testing.TB, s gorgonia.Solver, from, to int) {
	t.Helper()
	for step := from; step < to; step++ {
		rng := rand.New(rand.NewPCG(uint64(step), 3))
		fill(n.x, rng, 1)
		fill(n.y, rng, 1)
		if err := n.vm.RunAll(); err != nil {
			t.Fatal(err)
		}
		if err := s.Step(gorgonia.NodesToValueGrads(n.params)); err != nil {
			t.Fatal(err)
		}
		n.vm.Reset()
	}
}

func (n *net) weights() map[string][]float64 {
	out := make(map[string][]float64)
	for _, p := range n.params {
		out[p.Name()] = values(p.Value())
	}
	return out
}

// What one process has saved, another goes on with to the same bits: with a
// graph, a machine and a solver of its own, and the parameters in another order.
func TestContinuationIsBitIdentical(t *testing.T) {
	for name, newSolver := range solvers {
		for _, dt := range dtypes {
			for _, before := range []int{0, 1, 10} {
				t.Run(fmt.Sprintf("%s/%v/%d", name, dt, before), func(t *testing.T) {
					opts := []Option{WithSchedule(Cosine(0.02, 0, 30)), WithClipNorm(0.5)}
					a, sa := newNet(t, dt), newSolver(opts...)
					a.train(t, sa, 0, before)
					state := save(t, sa)

					b, sb := newNet(t, dt), newSolver(opts...)
					b.train(t, sb, 50, 53) // of no more use
					for i, p := range b.params {
						copyValue(p.Value(), a.params[i].Value())
					}
					slices.Reverse(b.params)
					if err := sb.Load(bytes.NewReader(state)); err != nil {
						t.Fatal(err)
					}
					if got := save(t, sb); !bytes.Equal(got, state) || sb.Steps() != before {
						t.Fatalf("what was loaded saves to %d other bytes", len(got))
					}
					a.train(t, sa, before, before+10)
					b.train(t, sb, before, before+10)
					if !bytes.Equal(save(t, sa), save(t, sb)) || fmt.Sprint(a.weights()) != fmt.Sprint(b.weights()) {
						t.Errorf("10 steps after loading the two differ:\n%v\n%v", a.weights(), b.weights())
					}
				})
			}
		}
	}
}

// The state does matter, so the test above sees it.
func TestContinuationNeedsState(t *testing.T) {
	for name, newSolver := range solvers {
		a, s := newModel(tensor.Float64, 1), newSolver()
		a.train(t, s, 0, 10)
		b := newModel(tensor.Float64, 1)
		for i := range a {
			copyValue(b[i].w, a[i].w)
		}
		a.train(t, s, 10, 20)
		b.train(t, newSolver(), 10, 20)
		if name != "SGD" && slices.Equal(a.weights(), b.weights()) {
			t.Errorf("%s: without what it keeps it continues to the same bits", name)
		}
	}
}

// State is by name, and a copy.
func TestState(t *testing.T) {
	for _, dt := range dtypes {
		p := newParam("w", dt, 1, 2)
		s := NewMomentum(WithMomentum(0.5))
		for range 2 {
			setFirst(p.g, 4)
			if err := s.Step(model{p}.valueGrads()); err != nil {
				t.Fatal(err)
			}
		}
		got := s.State()
		if r := got["w"]; len(got) != 1 || r.Steps != 2 || !slices.Equal(r.Values["velocity"], []float64{6, 0}) {
			t.Errorf("%v: state %v, want a velocity of 6, 0 after 2 steps", dt, got)
		}
		got["w"].Values["velocity"][0] = 100
		if !slices.Equal(s.State()["w"].Values["velocity"], []float64{6, 0}) {
			t.Errorf("%v: State gave away the solver's own memory", dt)
		}
	}
	s := NewAdam()
	newModel(tensor.Float32, 1).train(t, s, 0, 1)
	for name, r := range s.State() {
		if len(r.Values["mean"]) == 0 || len(r.Values["mean"]) != len(r.Values["square"]) || norm(r.Values["square"]) == 0 {
			t.Errorf("%s: Adam keeps %v", name, r)
		}
	}
}

// How many steps were skipped is part of the state: a newcomer gives up when the
// others do.
func TestSkippedIsState(t *testing.T) {
	p := newParam("w", tensor.Float32, 1)
	bad := func(s *Solver) error {
		setFirst(p.g, math.Inf(1))
		return s.Step(model{p}.valueGrads())
	}
	a, b := NewSGD(WithMaxSkipped(2)), NewSGD(WithMaxSkipped(2))
	if err := errors.Join(bad(a), bad(a), b.Load(bytes.NewReader(save(t, a)))); err != nil {
		t.Fatal(err)
	}
	if errA, errB := bad(a), bad(b); !errors.Is(errA, ErrNonFinite) || fmt.Sprint(errA) != fmt.Sprint(errB) || b.Skipped() != 3 {
		t.Errorf("after the third bad gradient: %v and %v", errA, errB)
	}
}

// What does not fit is refused by name, and nothing of it stays.
func TestLoadRefuses(t *testing.T) {
	good := NewAdam()
	newModel(tensor.Float32, 1).train(t, good, 0, 2)
	state := save(t, good)
	change := func(at int, to ...byte) []byte {
		b := bytes.Clone(state)
		copy(b[at:], to)
		return sealed(b[:len(b)-4])
	}
	const first = 4 + 2 + (2 + 4) + 3*8 + 4 // the first parameter: its name, "b0"
	for _, tt := range []struct {
		name  string
		s     *Solver
		state []byte
		want  string
	}{
		{"empty", NewAdam(), nil, "truncated"},
		{"truncated", NewAdam(), state[:len(state)-1], "truncated"},
		{"something else", NewAdam(), []byte("PK\x03\x04 and so on"), `begins with "PK\x03\x04", want "RRSO"`},
		{"version", NewAdam(), change(4, 2), "version 2, this is version 1"},
		{"other solver", NewAdamW(), state, `it is of "Adam", this is "AdamW"`},
		{"a flipped bit", NewAdam(), append(bytes.Clone(state[:len(state)-9]), append([]byte{state[len(state)-9] ^ 1}, state[len(state)-8:]...)...), "checksum"},
		{"a negative count", NewAdam(), change(4+2+2+4+7, 0x80), "a count of 9223372036854775810"},
		{"a long name", NewAdam(), change(first, 0xff, 0xff), "a name of 65535 bytes"},
		{"no name", NewAdam(), change(first+2, 0xff), `comes after "\xff0"`},
		{"size", NewAdam(), change(first+4+8, 5), `"b0" has elements of 5 bytes`},
		{"length 0", NewAdam(), change(first+4+8+1, 0), `"b0" has no elements`},
		{"an enormous length", NewAdam(), change(first+4+8+1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f), "truncated"},
		{"too many parameters", NewAdam(), change(first-4, 6), ""},
		{"an option that is wrong", NewAdam(WithEps(-1)), state, "WithEps"},
	} {
		if tt.s.err == nil {
			newModel(tensor.Float32, 2).train(t, tt.s, 0, 1)
		}
		before := tt.s.State()
		err := tt.s.Load(bytes.NewReader(tt.state))
		if err == nil || tt.s.err == nil && !errors.Is(err, ErrState) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want ErrState that says %q", tt.name, err, tt.want)
		}
		if !sameState(tt.s.State(), before) {
			t.Errorf("%s: the state changed although it was refused", tt.name)
		}
	}
}

// sealed appends the checksum.
func sealed(b []byte) []byte {
	sum := crc32.Checksum(b, castagnoli)
	return append(bytes.Clone(b), byte(sum), byte(sum>>8), byte(sum>>16), byte(sum>>24))
}

// A length that lies does not make Load take memory for it.
func TestLoadTakesNoMemoryForLies(t *testing.T) {
	good := NewMomentum()
	newModel(tensor.Float64, 1).train(t, good, 0, 1)
	b := save(t, good)
	const length = 4 + 2 + (2 + 8) + 3*8 + 4 + (2 + 2) + 8 + 1
	copy(b[length:], []byte{0, 0, 0, 0, 1}) // 4 G elements
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if err := NewMomentum().Load(bytes.NewReader(b)); !errors.Is(err, ErrState) {
		t.Fatalf("error %v", err)
	}
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; took > 1<<20 {
		t.Errorf("%d bytes of input took %d of memory", len(b), took)
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

func TestStateReportsBrokenStreams(t *testing.T) {
	s := NewAdam()
	newModel(tensor.Float64, 1).train(t, s, 0, 1)
	state := save(t, s)
	for left := 0; left < len(state); left += 997 {
		if err := s.Save(&brokenWriter{left}); !errors.Is(err, errFull) {
			t.Fatalf("room for %d bytes: error %v, want %v", left, err, errFull)
		}
		broken := io.MultiReader(bytes.NewReader(state[:left]), iotest.ErrReader(errFull))
		if err := NewAdam().Load(broken); !errors.Is(err, errFull) || errors.Is(err, ErrState) {
			t.Fatalf("%d bytes to read: error %v, want %v", left, err, errFull)
		}
	}
	if err := NewAdam().Load(iotest.OneByteReader(bytes.NewReader(state))); err != nil {
		t.Errorf("byte by byte: %v", err)
	}
	if err := NewAdam(WithEps(-1)).Save(io.Discard); err == nil {
		t.Errorf("a solver with a wrong option saves")
	}
}

// Whatever the bytes, Load ends, and what it accepts it saves again to the same
// bytes. The harness puts the checksum right, or no mutation would get past it.
func FuzzLoad(f *testing.F) {
	for _, newSolver := range []func() *Solver{func() *Solver { return NewAdam() }, func() *Solver { return NewMomentum() }, func() *Solver { return NewSGD() }} {
		for _, steps := range []int{0, 2} {
			s := newSolver()
			model{newParam("a", tensor.Float32, 3), newParam("b", tensor.Float64)}.train(f, s, 0, steps)
			f.Add(save(f, s))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= 4 {
			b = sealed(b[:len(b)-4])
		}
		for _, s := range []*Solver{NewAdam(), NewMomentum(), NewSGD()} {
			if err := s.Load(bytes.NewReader(b)); err != nil {
				if !errors.Is(err, ErrState) {
					t.Errorf("error %v, want ErrState", err)
				}
				continue
			}
			if got := save(t, s); !bytes.HasPrefix(b, got) {
				t.Errorf("accepted\n%x\nand saves\n%x", b, got)
			}
			s.State()
		}
	})
}
