package bridge

import (
	"context"
	"errors"
	"fmt"

	"gorgonia.org/gorgonia"

	"github.com/ringrun/ringrun/allreduce"
	"github.com/ringrun/ringrun/elastic"
	ours "github.com/ringrun/ringrun/gorgonia_bridge/solver"
)

// Solver wraps a solver of Gorgonia: Step on the last pass of a step averages
// the gradients of all peers and then calls the inner Step; on the passes before
// it only lets the gradients add up. Step must be given exactly the attached
// parameters, in their order.
//
// What the inner solver keeps between steps is part of the state that newcomers
// get. So it must be one of Gorgonia's own, or an elastic.State as those of
// package solver are; any other makes Step fail. If it is a fmt.Stringer, then
// peers of whose solvers the strings differ cannot train together.
//
// After Join it waits for the peers to start with, and all get the parameters of
// one of them; Step returns the error if that fails.
func (b *Bridge) Solver(s gorgonia.Solver) gorgonia.Solver {
	if b.solver != nil {
		return &solver{b: b, err: errors.New("bridge: a second solver on the same parameters")}
	}
	b.solver, b.solverErr, b.zeroes = s, checkSolver(s), zeroes(s)
	b.describe()
	err := b.solverErr
	if err == nil && b.together != nil {
		err = b.together()
	}
	return &solver{b: b, err: err}
}

// zeroes reports whether a solver is known to zero the gradients.
func zeroes(s gorgonia.Solver) bool {
	if _, foreign := s.(elastic.State); foreign {
		_, ours := s.(*ours.Solver)
		return ours
	}
	return true // Gorgonia's do
}

// Step is for loops that update their parameters themselves: it is a wrapped
// solver's Step with update in place of the inner one's. When update is called,
// the gradient of every parameter is the mean over all peers; afterwards it is
// zero. What update keeps between steps newcomers do not get.
func (b *Bridge) Step(update func() error) error {
	more := b.group.Accumulating()
	if err := b.closePass(more); err != nil || more {
		return err
	}
	defer func(z bool) { b.zeroes = z }(b.zeroes)
	b.zeroes = false
	return b.step(update)
}

// solverName returns what is compared between peers.
func (b *Bridge) solverName() string {
	if _, own := b.solver.(elastic.State); own {
		if s, ok := b.solver.(fmt.Stringer); ok {
			return s.String()
		}
	}
	return typeName(b.solver)
}

// typeName returns "" for no solver.
func typeName(s gorgonia.Solver) string {
	if s == nil {
		return ""
	}
	return fmt.Sprintf("%T", s)
}

type solver struct {
	b   *Bridge
	err error
}

// Step is one pass of this peer, and on the last one the step of all peers.
//
// Gorgonia's Solver has no context; the one given to elastic.Run ends it.
func (s *solver) Step(model []gorgonia.ValueGrad) error {
	if s.err != nil {
		return s.err
	}
	b := s.b
	if err := b.checkModel(model); err != nil {
		return err
	}
	more := b.group.Accumulating()
	if err := b.closePass(more); err != nil || more {
		return err
	}
	return b.step(func() error { return b.solver.Step(model) })
}

// step reduces what the passes have left, and lets update use it.
func (b *Bridge) step(update func() error) error {
	defer b.forget()
	b.note()
	var comm *allreduce.Comm
	var total float64
	reduce := func(c *allreduce.Comm, w elastic.Weights) error {
		comm, total = c, w.Total
		return b.reduce(context.Background(), c, w)
	}
	counted, err := b.group.Commit(context.Background(), reduce, func() error {
		b.deliver(comm.Size() == 1)
		b.stepping = true
		err := update()
		b.stepping = false
		if comm.Size() > 1 {
			b.home = 1 - b.home
		}
		b.used = err == nil
		return err
	})
	if err == nil && counted {
		b.passes += total
		b.stats.add(b.noted, comm.Size(), b.arenaBytes)
	}
	if b.next != (plan{}) {
		b.cut(b.next)
		b.next = plan{}
	}
	return err
}

func (b *Bridge) checkModel(model []gorgonia.ValueGrad) error {
	if len(model) != len(b.params) {
		return fmt.Errorf("bridge: Step got %d parameters, %d are attached", len(model), len(b.params))
	}
	for i, p := range b.params {
		if n, ok := model[i].(*gorgonia.Node); !ok || n != p.node {
			return fmt.Errorf("bridge: Step got %v as parameter %d, %q is attached there", model[i], i, p.name)
		}
	}
	return nil
}
