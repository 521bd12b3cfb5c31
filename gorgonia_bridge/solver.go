package bridge

import (
	"context"
	"errors"
	"fmt"

	"gorgonia.org/gorgonia"

	"github.com/ringrun/ringrun/allreduce"
	"github.com/ringrun/ringrun/elastic"
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
func (b *Bridge) Solver(s gorgonia.Solver) gorgonia.Solver {
	if b.solver != nil {
		return &solver{b: b, err: errors.New("bridge: a second solver on the same parameters")}
	}
	b.solver, b.solverErr = s, checkSolver(s)
	b.describe()
	return &solver{b: b, err: b.solverErr}
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
	if err := b.gatherPass(); err != nil {
		return err
	}
	if b.group.Accumulating() {
		return nil
	}
	defer b.forget()
	var total float64
	reduce := func(c *allreduce.Comm, w elastic.Weights) error {
		total = w.Total
		return b.reduce(context.Background(), c, w)
	}
	counted, err := b.group.Commit(context.Background(), reduce, func() error {
		b.writeBack()
		return b.solver.Step(model)
	})
	if err == nil && counted {
		b.passes += total
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

// A gradient is what this peer has for one parameter in the current step.
type gradient struct {
	value  gorgonia.Value // where the inner solver will look for it
	grad   array          // the elements of value
	sum    array          // of the passes so far, if there are several
	passes int            // that are in sum
}

// local returns what this peer contributes.
func (g gradient) local() array {
	if g.passes > 0 {
		return g.sum
	}
	return g.grad
}

// keep adds the elements of one pass to the sum.
func (g *gradient) keep(a array) {
	if g.sum.len() == 0 {
		g.sum = newArray(a.dtype(), a.len())
	}
	if g.passes == 0 {
		g.sum.copyFrom(a)
	} else {
		g.sum.add(a)
	}
	g.passes++
}

// clear zeroes the gradient where Gorgonia keeps it, as solvers do after a step.
func (g *gradient) clear() {
	g.grad.zero()
	g.grad.store(g.value)
}

// gatherPass looks up what the pass just run has left. If more passes follow, it
// adds it to the sums and clears it: Gorgonia's machines differ, and the Lisp
// machine even from op to op, in whether the next pass adds to a gradient or
// replaces it.
func (b *Bridge) gatherPass() error {
	more := b.group.Accumulating()
	for i, p := range b.params {
		v, a, err := p.grad()
		if err != nil {
			return err
		}
		g := &b.grads[i]
		if g.value, g.grad = v, a; more || g.passes > 0 {
			g.keep(a)
		}
	}
	for i := range b.grads { // after all were read: two parameters may have one gradient
		if more {
			b.grads[i].clear()
		}
	}
	for _, m := range b.metrics {
		if err := m.add(); err != nil {
			return err
		}
	}
	return nil
}

// reduce leaves the mean over all peers in the buckets, and what it was made of
// untouched: when the ring breaks, it is called again with the next one.
func (b *Bridge) reduce(ctx context.Context, c *allreduce.Comm, w elastic.Weights) error {
	buckets := b.plan.Buckets()
	works := make([]*allreduce.Work, len(buckets))
	for i, bucket := range buckets {
		b.pack(bucket, w)
		works[i] = c.Start(bucket.Vector(), allreduce.Sum)
	}
	var first error
	for _, work := range works { // all of them: until then the buckets belong to the Comm
		if err := work.Wait(ctx); err != nil && first == nil {
			first = err
		}
	}
	return first
}

// pack fills a bucket with this peer's share of the mean. It is scaled before it
// is summed, so that a codec of a narrow range does not overflow.
func (b *Bridge) pack(bucket *allreduce.Bucket, w elastic.Weights) {
	a := elements(bucket.Vector())
	if w.Mine == 0 {
		a.zero()
		return
	}
	bucket.Pack(func(spec int) allreduce.Vector {
		if spec < len(b.params) {
			return b.grads[spec].local().vector()
		}
		return allreduce.Of([]float64{b.metrics[spec-len(b.params)].sum})
	})
	a.scale(1 / w.Total)
}

// writeBack puts the means where the inner solver looks for gradients.
func (b *Bridge) writeBack() {
	for _, bucket := range b.plan.Buckets() {
		bucket.Unpack(func(spec int) allreduce.Vector {
			if spec < len(b.params) {
				return b.grads[spec].grad.vector()
			}
			return allreduce.Of(b.metrics[spec-len(b.params)].mean)
		})
	}
	for _, g := range b.grads {
		g.grad.store(g.value)
	}
}

// forget drops what this peer has of the current step: it is committed, or does
// not count any more.
func (b *Bridge) forget() {
	for i := range b.grads {
		b.grads[i].clear()
		b.grads[i].passes = 0
	}
	for _, m := range b.metrics {
		m.sum = 0
	}
}
