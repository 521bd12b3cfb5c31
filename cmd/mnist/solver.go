package main

import (
	"fmt"
	"math"
	"slices"

	"gorgonia.org/gorgonia"

	"github.com/ringrun/ringrun/gorgonia_bridge/solver"
)

var solvers = []string{"adam", "momentum", "lars", "lamb"}

func (s settings) validateSolver() error {
	switch {
	case !slices.Contains(solvers, s.solver):
		return fmt.Errorf("-solver %q, want one of %v", s.solver, solvers)
	case !(s.scale >= 1):
		return fmt.Errorf("-scale %v, want at least 1", s.scale)
	case s.scale != 1 && s.solver != "momentum":
		return fmt.Errorf("-scale is for -solver momentum, not %s", s.solver)
	}
	return nil
}

// newSolver returns what trains on so many samples. All but Adam warm up for a
// tenth of the steps, and slow down until the last one.
//
// times is how many times -batch a step has. Momentum's rate grows with that, as
// for -scale; that of LARS and LAMB with its root (You et al., "Large batch
// optimization for deep learning", 2020).
func (s settings) newSolver(samples int, times func() float64) gorgonia.Solver {
	steps := int(s.steps)
	if walks := s.epochs * ((samples + s.batch - 1) / s.batch); steps == 0 || walks > 0 && walks < steps {
		steps = walks
	}
	root := solver.WithBatchScale(func() float64 { return math.Sqrt(times()) }, steps/10)
	switch s.solver {
	case "momentum":
		return solver.NewMomentum(solver.WithSchedule(solver.LinearScaling(solver.Cosine(s.lr, 0, steps), s.scale, steps/10)),
			solver.WithBatchScale(times, steps/10))
	case "lars":
		return solver.NewLARS(root, solver.WithTrust(0.02), solver.WithExclude(solver.Vectors),
			solver.WithSchedule(solver.WarmUp(solver.Polynomial(s.lr, 0, steps, 2), steps/10)))
	case "lamb":
		return solver.NewLAMB(root, solver.WithExclude(solver.Vectors),
			solver.WithSchedule(solver.WarmUp(solver.Polynomial(s.lr, 0, steps, 1), steps/10)))
	}
	return gorgonia.NewAdamSolver(gorgonia.WithLearnRate(s.lr))
}
