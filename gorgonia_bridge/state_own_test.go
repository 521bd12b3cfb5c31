package bridge

import (
	"bytes"
	"errors"
	"hash/crc32"
	"io"
	"math"
	"strings"
	"testing"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/ringrun/ringrun/elastic"
	ours "github.com/ringrun/ringrun/gorgonia_bridge/solver"
)

// A solver that saves itself is in the state: another peer that loads it goes on
// to the same bits, and would not without.
func TestOwnStateOfSolverContinues(t *testing.T) {
	for name, newSolver := range solvers {
		if !strings.HasPrefix(name, "our ") {
			continue
		}
		o := netOptions{dtype: tensor.Float32, seed: 1}
		a, b := alone(t, o, newSolver()), alone(t, netOptions{dtype: tensor.Float32, seed: 2}, newSolver())
		a.train(t, 0, 10)
		b.train(t, 100, 103)
		state := a.save(t)
		if err := b.bridge.Load(bytes.NewReader(state)); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(b.save(t), state) {
			t.Fatalf("%s: what was loaded saves to other bytes", name)
		}
		a.train(t, 10, 20)
		b.train(t, 10, 20)
		if !bytes.Equal(a.save(t), b.save(t)) {
			t.Errorf("%s: 10 steps after loading the peers differ:\n%v\n%v", name, a.weights(t), b.weights(t))
		}
		if !bytes.Contains(state, []byte("*solver.Solver")) || b.bridge.ParamsHash() == alone(t, o, newSolver()).bridge.ParamsHash() {
			t.Errorf("%s: the state has no solver in it, or nothing was trained", name)
		}
	}
}

// A state of another solver is refused, and nothing of it stays.
func TestLoadRefusesOtherSolversOfOurs(t *testing.T) {
	o := netOptions{dtype: tensor.Float32, seed: 1}
	a, b := alone(t, o, ours.NewAdam()), alone(t, netOptions{dtype: tensor.Float32, seed: 2}, ours.NewMomentum())
	a.train(t, 0, 2)
	b.train(t, 0, 1)
	before := b.save(t)
	state := a.save(t)
	long := bytes.Clone(before)
	copy(long[bytes.Index(long, []byte("RRSO"))-4:], []byte{1, 0, 1, 0})
	for _, tt := range []struct {
		name  string
		state []byte
		want  string
	}{
		{"another algorithm", state, `it is of "Adam", this is "Momentum"`},
		{"truncated", state[:len(state)-20], "truncated"},
		{"a piece too long", long, "a piece of 65537 bytes"},
		{"one of Gorgonia's", alone(t, o, solvers["Adam"]()).save(t), `solver "*gorgonia.AdamSolver", here it is "*solver.Solver"`},
	} {
		err := b.bridge.Load(bytes.NewReader(tt.state))
		if !errors.Is(err, ErrState) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want ErrState that says %q", tt.name, err, tt.want)
		}
		if !bytes.Equal(b.save(t), before) {
			t.Errorf("%s: the state changed although it was refused", tt.name)
		}
	}
}

// One peer has a gradient that is not finite. So has the mean, and all of them
// skip that step.
func TestPeersSkipTogether(t *testing.T) {
	const size, bad = 3, 4
	_, comms := newComms(t, size)
	ws, inner, errs := make([]*worker, size), make([]*ours.Solver, size), make([]error, size)
	for i := range ws {
		inner[i] = ours.NewAdam()
		ws[i] = newWorker(t, netOptions{dtype: tensor.Float32, kind: tapeBound, rows: shard, seed: 1}, inner[i], comms[i])
		ws[i].group.weights = elastic.Weights{Mine: 1, Total: size}
	}
	together(size, func(i int) {
		for step := 0; step < 8 && errs[i] == nil; step++ {
			ws[i].fill(100*i+step, 100*i+step+shard)
			if i == 1 && step == bad {
				ws[i].x.set(0, math.NaN())
			}
			before := ws[i].bridge.ParamsHash()
			errs[i] = ws[i].run(ws[i].solver)
			if (ws[i].bridge.ParamsHash() == before) != (step == bad) {
				t.Errorf("peer %d, step %d: the parameters moved, or should have", i, step)
			}
		}
	})
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	for i, w := range ws {
		if !bytes.Equal(w.save(t), ws[0].save(t)) || inner[i].Skipped() != 1 || inner[i].Steps() != 7 {
			t.Errorf("peer %d ends after %d steps and %d skipped with\n%v, peer 0 with\n%v", i, inner[i].Steps(), inner[i].Skipped(), w.weights(t), ws[0].weights(t))
		}
	}
}

// Options are not in the state, so peers compare them.
func TestOptionsOfOurSolversAreCompared(t *testing.T) {
	digest := func(s gorgonia.Solver) []byte {
		return alone(t, netOptions{dtype: tensor.Float32, seed: 1}, s).group.digest
	}
	a, b := digest(ours.NewAdam()), digest(ours.NewAdam(ours.WithLearnRate(0.1)))
	if err := compareDigests([]string{"p0", "p1"}, [][]byte{a, a}); err != nil {
		t.Errorf("equal solvers: %v", err)
	}
	err := compareDigests([]string{"p0", "p1"}, [][]byte{a, b})
	if err == nil || !strings.Contains(err.Error(), `rate 0.001)" on p0 but "Adam(`) || !strings.Contains(err.Error(), `rate 0.1)" on p1`) {
		t.Errorf("other rates: error %v", err)
	}
}

// A selfSaver saves bytes, or an error.
type selfSaver struct {
	ownSolver
	kept []byte
	err  error
}

func (s *selfSaver) Save(w io.Writer) error {
	if _, err := w.Write(s.kept); err != nil {
		return err
	}
	return s.err
}

func (s *selfSaver) Load(r io.Reader) (err error) {
	s.kept, err = io.ReadAll(r)
	return errors.Join(err, s.err)
}

// What solvers save themselves may be of any length, also of none.
func TestSolversOfTheUserSaveThemselves(t *testing.T) {
	o := netOptions{dtype: tensor.Float32, seed: 1}
	for _, n := range []int{0, 1, maxPiece, maxPiece + 1, 3*maxPiece - 1} {
		from, to := &selfSaver{kept: bytes.Repeat([]byte{7}, n)}, &selfSaver{kept: []byte("old")}
		a, b := alone(t, o, from), alone(t, o, to)
		a.train(t, 0, 1)
		if err := b.bridge.Load(bytes.NewReader(a.save(t))); err != nil || !bytes.Equal(to.kept, from.kept) {
			t.Errorf("%d bytes of a solver: %d loaded, error %v", n, len(to.kept), err)
		}
	}
	s := &selfSaver{err: errFull}
	w := alone(t, o, s)
	if err := w.bridge.Save(io.Discard); !errors.Is(err, errFull) {
		t.Errorf("a solver cannot save: error %v", err)
	}
}

// FuzzLoadOwn is FuzzLoad for solvers that save themselves.
func FuzzLoadOwn(f *testing.F) {
	newWorker := func() *worker {
		return alone(f, netOptions{dtype: tensor.Float32, seed: 1, hidden: 1}, ours.NewMomentum())
	}
	w := newWorker()
	f.Add(w.save(f))
	w.train(f, 0, 1)
	f.Add(w.save(f))
	f.Fuzz(func(t *testing.T, b []byte) {
		if n := len(b) - 4; n >= 0 {
			sum := crc32.Checksum(b[:n], castagnoli)
			b = append(bytes.Clone(b[:n]), byte(sum), byte(sum>>8), byte(sum>>16), byte(sum>>24))
		}
		if err := w.bridge.Load(bytes.NewReader(b)); err != nil {
			if !errors.Is(err, ErrState) {
				t.Errorf("error %v, want ErrState", err)
			}
			return
		}
		if err := w.bridge.Load(bytes.NewReader(w.save(t))); err != nil {
			t.Errorf("what it saves then is refused: %v", err)
		}
	})
}
