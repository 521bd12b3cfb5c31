package elastic

import (
	"context"

	"github.com/ringrun/ringrun/allreduce"
)

// Sync waits until the peers to start with have come and all have the same State.
// It is for loops without Shards that take a fixed number of steps: without it
// the first Commit does this, and those who get the State there find that the
// gradient they came with no longer counts.
func (g *Group) Sync(ctx context.Context) error {
	_, err := g.sync(ctx)
	return err
}

// Early returns what Commit would give to reduce if it were called now: the
// communicator and the weights of the step in progress. Whoever has it may start
// the collectives of the step before Commit, while gradients are still being
// computed. ok is false when there is nothing to start yet: more passes follow,
// or no ring stands on whose state all peers have agreed. Then Commit does it
// all.
//
// Works that were started early belong to the communicator on which they were:
// if reduce gets that one, they are part of the step, and reduce starts the
// others and waits for all. If it gets another, the generation has changed in
// between; the old works end soon, with or without an error, mean nothing, and
// reduce starts all of them anew. So all peers start the same works in the same
// order on every communicator, however many of them are early on each.
//
// Early does not block. It may be called by another goroutine than the one that
// trains while that one waits for it.
func (g *Group) Early() (c *allreduce.Comm, w Weights, ok bool) {
	gen := g.current()
	if gen == nil || !gen.shared || gen.comm.Err() != nil || g.Accumulating() {
		return nil, Weights{}, false
	}
	switch {
	case g.next.dealt && (g.next.holding || g.ledger == nil):
		return gen.comm, g.next.weights, true
	case !g.next.dealt && g.ledger == nil:
		return gen.comm, equalWeights(gen), true
	}
	return nil, Weights{}, false
}

// equalWeights are those of a step without Samples.
func equalWeights(gen *generation) Weights { return Weights{1, float64(len(gen.view.Peers))} }
