package elastic

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/ringrun/ringrun/allreduce"
)

// Weights says how much goes into a step, counted in full passes: samples
// divided by Samples.Shard; without Samples every peer counts 1.
type Weights struct {
	Mine  float64 // what this peer contributes, maybe nothing
	Total float64 // what all peers contribute together
}

// A Shard is what one pass of the loop works on.
type Shard struct {
	Epoch   int    // walks through the data set that are complete
	Step    uint64 // steps committed before this one
	Samples []int  // at most Samples.Shard sample numbers; none if there are more peers than shards
	Last    bool   // this peer's part of the step ends with this pass
}

// Shards deals out this peer's samples, pass by pass, until Samples says that
// the run ends. After the last pass of each step the loop calls Commit; before
// that it adds up gradients. Every sample is in exactly one committed step of an
// epoch, whoever comes and goes. After an error there are no more passes, nor when
// this peer was drained, or the run has ended without it.
func (g *Group) Shards(ctx context.Context, s Samples) iter.Seq2[Shard, error] {
	return func(yield func(Shard, error) bool) {
		if err := g.begin(s); err != nil {
			yield(Shard{}, err)
			return
		}
		for {
			shard, more, err := g.shard(ctx)
			if errors.Is(err, ErrDrained) || errors.Is(err, ErrOver) {
				return
			}
			if err != nil {
				yield(Shard{}, err)
				return
			}
			if !more || !yield(shard, nil) {
				return
			}
		}
	}
}

var errUncommitted = errors.New("elastic: the loop asks for samples of the next step but has not committed the last one (Step, or Commit, after the last pass)")

func (g *Group) begin(s Samples) error {
	s = s.withDefaults()
	s.Scale = s.Scale || g.cfg.Batch == "scale"
	if err := s.validate(); err != nil {
		return err
	}
	if g.ledger != nil || g.veteran != "" {
		return errors.New("elastic: Shards is called once, before the first Commit")
	}
	g.ledger = &ledger{Samples: s}
	return nil
}

// shard returns the next pass. more is false at the end of the run, when all
// peers have committed the last step.
func (g *Group) shard(ctx context.Context) (s Shard, more bool, err error) {
	defer g.meter.enter(Computing)
	switch {
	case !g.next.holding:
		g.meter.enter(Waiting)
		if more, err := g.take(ctx); !more {
			return Shard{}, false, err
		}
	case !g.Accumulating():
		return Shard{}, false, errUncommitted
	}
	lo := g.next.taken
	hi := min(lo+g.ledger.Samples.Shard, len(g.next.hand))
	g.next.taken, g.next.inPass = hi, hi-lo
	g.next.made++
	o := newOrder(g.ledger.Samples.Count, g.ledger.Samples.Seed, g.ledger.Epoch)
	s = Shard{Epoch: g.ledger.Epoch, Step: g.steps, Last: !g.Accumulating()}
	for _, p := range g.next.hand[lo:hi] {
		s.Samples = append(s.Samples, o.at(p))
	}
	return s, true, nil
}

// take begins this peer's part of the next step. It returns false at the end of
// the run. A peer that the others have left out just when it committed the last
// step alone may find, waiting for them to end the run, that there is more to do:
// it got their state.
func (g *Group) take(ctx context.Context) (more bool, err error) {
	for {
		gen, err := g.sync(ctx)
		if errors.Is(err, errFinal) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		if g.finishing = g.ledger.done(g.steps); !g.finishing {
			if !g.next.dealt {
				n := len(gen.view.Peers)
				g.ledger.peers = n
				g.next = g.newStep(assign(g.ledger.batch(), g.ledger.Samples.Shard, n), gen.rank)
			}
			g.next.holding = true
			return true, nil
		}
		if ended, err := g.end(ctx, gen); ended || err != nil {
			return false, err
		}
	}
}

// Accumulating reports whether this peer has passes left in the current step,
// so that gradients add up and nothing is reduced yet.
func (g *Group) Accumulating() bool {
	return g.ledger != nil && g.next.holding &&
		(g.next.taken < len(g.next.hand) || g.bound && g.next.made < g.next.passes(g.ledger.Samples.Shard))
}

// Commit ends a step. It calls reduce with the current communicator; if the ring
// breaks meanwhile, again with the next one and those who are left, until it
// succeeds; then apply, once. reduce must therefore leave this peer's own
// gradient as it is. What it computes is the sum of all contributions divided by
// w.Total; a peer whose w.Mine is 0 contributes zeros. Nothing that all peers
// hold in common may change before apply.
//
// Commit returns false when the gradient no longer counts: the others have
// committed the step, or began it anew, and the State may have been loaded from
// them. The loop forgets the gradient and goes on. In a loop without Shards it
// returns ErrDrained when this peer was drained, and ErrOver when the run has ended
// without it; the loop returns that to Run.
func (g *Group) Commit(ctx context.Context, reduce func(c *allreduce.Comm, w Weights) error, apply func() error) (bool, error) {
	if g.ledger == nil {
		g.next.holding = true
	} else if !g.next.holding {
		return false, errors.New("elastic: Commit without a step: take a shard first")
	}
	defer g.meter.enter(Computing)
	for {
		g.meter.enter(Waiting)
		gen, err := g.sync(ctx)
		if g.left && g.ledger != nil {
			g.next = step{} // and Shards ends
			return false, nil
		}
		if err != nil {
			return false, err
		}
		if !g.next.holding {
			return false, nil
		}
		g.meter.enter(Reducing)
		if !g.next.dealt {
			g.next = step{dealt: true, holding: true, weights: equalWeights(gen)}
		}
		err = reduce(gen.comm, g.next.weights)
		if err == nil {
			g.confirm(gen)
			g.verifier.reduced(g.steps + 1)
			if err := g.apply(gen, apply); err != nil {
				return true, err
			}
			g.checkpoint(gen)
			g.meter.count(gen.view.Epoch, gen.comm.Stats())
			if err := g.boundary(ctx, gen); err != nil {
				return true, err
			}
			return true, g.goOn(ctx)
		}
		if !retry(ctx, err) {
			return false, err
		}
		g.retries++
		g.report.retried(g.id(), gen.view.Epoch, g.steps, err)
	}
}

// confirm tells the node now and then that the generation works.
func (g *Group) confirm(gen *generation) {
	if time.Since(g.confirmed) > confirmTime {
		g.confirmed = time.Now()
		g.node().Confirm(gen.view.Epoch)
	}
}

func (g *Group) apply(gen *generation, apply func() error) error {
	g.meter.enter(Applying)
	if err := apply(); err != nil {
		return err
	}
	g.steps++
	g.recorder.committed(gen, g.steps)
	g.meter.committed(g.steps, g.next.weights.Mine)
	g.tally.committed(g.steps, len(g.next.consumed))
	walk := 0
	if g.ledger != nil {
		walk = g.ledger.Epoch
		g.ledger.commit(g.next.consumed)
	}
	g.clerk.committed(gen, g.steps, walk, g.next.hands)
	if err := g.tell(); err != nil {
		return err
	}
	g.next = step{}
	return g.verifier.applied(g)
}
