// Package solver has solvers for Gorgonia that update in place, in one pass over
// the memory and without garbage:
//
//	s := solver.NewAdam(solver.WithLearnRate(0.001))
//	…
//	s.Step(gorgonia.NodesToValueGrads(params))
//
// What they keep between steps belongs to the names of the parameters: their
// order does not matter, nor does the graph, which may be built anew. Save and
// Load move it to another process, and so the bridge does; options stay what the
// program says.
//
// A step with a gradient that is not finite is skipped. When it is an average
// over peers, as under the bridge, then all of them skip it.
//
// Peers that begin with the same bits and step with the same gradients end with
// the same bits, on whatever processors: sums have a fixed order, products are
// rounded before they are added, and no step uses math.Exp, math.Pow or the like.
package solver

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"gorgonia.org/gorgonia"
)

// ErrNonFinite reports more steps in a row with a gradient that is not finite
// than WithMaxSkipped allows.
var ErrNonFinite = errors.New("solver: gradients are not finite")

var _ gorgonia.Solver = (*Solver)(nil)

// A Solver is one of the algorithms with what it keeps between steps. It is for
// one goroutine.
type Solver struct {
	algorithm algorithm
	hyper     hyper
	err       error // of the options

	steps   int // taken, not skipped
	skipped int
	inARow  int // of skipped
	slots   map[string]*slot

	calls   uint64
	work    []item // of the Step that runs
	scratch array
}

// A slot is what a solver keeps of one parameter.
type slot struct {
	name     string
	steps    int // that the parameter was in
	size     int // bytes in an element
	len      int
	kept     []array // as in algorithm.keeps
	excluded bool
	asked    bool   // whether excluded is known
	call     uint64 // the last that it was in
}

// An item is one parameter of the step that runs.
type item struct {
	slot *slot
	w, g array
}

func newSolver(a algorithm, opts []Option) *Solver {
	s := &Solver{algorithm: a, hyper: a.defaults, slots: make(map[string]*slot)}
	s.hyper.batch, s.hyper.maxSkipped = 1, 10
	if s.hyper.exclude == nil {
		s.hyper.exclude = none
	}
	s.err = s.hyper.with(a.name, a.takes, opts)
	return s
}

// String returns the algorithm and its options. Solvers that say the same act
// the same, but for WithExclude.
func (s *Solver) String() string {
	if s.err != nil {
		return s.algorithm.name + "(" + s.err.Error() + ")"
	}
	return s.algorithm.name + "(" + s.hyper.String() + ")"
}

// Steps returns how many steps were taken; those that were skipped do not count.
func (s *Solver) Steps() int { return s.steps }

// Skipped returns how many steps were skipped.
func (s *Solver) Skipped() int { return s.skipped }

// Rate returns the learning rate of the next step.
func (s *Solver) Rate() float64 {
	rate, _ := s.hyper.rateAt(s.steps)
	return rate
}

// Step moves the parameters and zeroes their gradients. Each needs a name of its
// own and contiguous memory. If an element of a gradient is not finite, or as
// large as 2^64 (float32) or 2^480 (float64), nothing moves.
func (s *Solver) Step(model []gorgonia.ValueGrad) error {
	if s.err != nil {
		return s.err
	}
	rate, err := s.hyper.rateAt(s.steps)
	if err != nil {
		return err
	}
	if err := s.gather(model); err != nil {
		return err
	}
	defer s.forget()
	for _, it := range s.work {
		if !it.g.usable() {
			return s.skip(it.slot.name)
		}
	}
	scale := s.scale()
	for _, it := range s.work {
		s.update(it, rate, scale)
	}
	s.steps++
	s.inARow = 0
	return nil
}

// skip counts a step that is not taken.
func (s *Solver) skip(name string) error {
	s.skipped++
	s.inARow++
	if s.inARow > s.hyper.maxSkipped {
		return fmt.Errorf("%w: that of %q; step %d was tried %d times", ErrNonFinite, name, s.steps, s.inARow)
	}
	return nil
}

// scale returns what gradients are multiplied by first.
func (s *Solver) scale() float64 {
	scale := 1 / s.hyper.batch
	if s.hyper.norm == 0 {
		return scale
	}
	slices.SortFunc(s.work, func(a, b item) int { return strings.Compare(a.slot.name, b.slot.name) })
	var squares float64
	for _, it := range s.work {
		squares += it.g.squares()
	}
	if norm := math.Sqrt(squares) * scale; norm > s.hyper.norm {
		scale *= s.hyper.norm / norm
	}
	return scale
}

// update moves one parameter.
func (s *Solver) update(it item, rate, scale float64) {
	sl := it.slot
	sl.steps++
	if it.w.f64 != nil {
		p := part[float64]{w: it.w.f64, g: it.g.f64, steps: sl.steps, rate: rate, scale: scale, excluded: sl.excluded}
		for i, k := range sl.kept {
			p.kept[i] = k.f64
		}
		if s.algorithm.scratch {
			p.scratch = atLeast(&s.scratch.f64, sl.len)
		}
		s.algorithm.update64(&s.hyper, &kernels64, p)
		return
	}
	p := part[float32]{w: it.w.f32, g: it.g.f32, steps: sl.steps, rate: rate, scale: scale, excluded: sl.excluded}
	for i, k := range sl.kept {
		p.kept[i] = k.f32
	}
	if s.algorithm.scratch {
		p.scratch = atLeast(&s.scratch.f32, sl.len)
	}
	s.algorithm.update32(&s.hyper, &kernels32, p)
}

func atLeast[T float](x *[]T, n int) []T {
	if len(*x) < n {
		*x = make([]T, n)
	}
	return (*x)[:n]
}

// forget zeroes the gradients, as Gorgonia's solvers do. Not before all
// parameters have moved: two may have one gradient.
func (s *Solver) forget() {
	for _, it := range s.work {
		it.g.zero()
	}
	clear(s.work)
}
