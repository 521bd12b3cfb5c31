package elastic

import (
	"context"
	"errors"

	"github.com/ringrun/ringrun/allreduce"
	"github.com/ringrun/ringrun/ring"
)

// BindPasses is for programs that run collectives inside their passes, as batch
// norm over all peers does. All peers call it, before the first Shards or Sync.
//
// From then on all peers take equally many passes in a step; those that Shards
// gives to a peer on top of its part have no samples. And passes are worth nothing
// on another ring than their own: when it breaks, those who are left begin the
// step anew, also those that had come as far as Commit, which then returns false.
func (g *Group) BindPasses() { g.bound = true }

// errNoPass reports that there is no ring for a pass yet.
var errNoPass = errors.New("elastic: no ring for a pass")

// Pass returns the communicator for collectives inside the pass that is being
// computed, which do not mix with those of Commit, and how many samples of this
// peer are in the pass: -1 without Shards, when only the program knows. Its errors,
// and those of the communicator, are for Again. Like Early it does not block, and
// may be called by another goroutine than the one that trains.
func (g *Group) Pass() (c *allreduce.Comm, samples int, err error) {
	gen := g.current()
	switch {
	case !g.bound:
		return nil, 0, errors.New("elastic: Pass without BindPasses")
	case gen == nil || !gen.shared || gen.comm.Err() != nil || g.ledger != nil && !g.next.holding:
		return nil, 0, errors.Join(errNoPass, ring.ErrBroken)
	case g.ledger == nil:
		return gen.inner, -1, nil
	}
	return gen.inner, g.next.inPass, nil
}

// Again reports whether a pass that failed with err, which Pass or a collective
// inside it returned, is to be run again: a peer was lost, and all others do the
// same. Then it has dropped this peer's part of the step. Shards goes on with the
// first pass that is dealt for it anew; without Shards all peers have the same
// State, and the loop may take the same samples again.
func (g *Group) Again(ctx context.Context, err error) bool {
	if !g.bound || !retry(ctx, err) || !g.brokenThrough(ctx) {
		return false
	}
	g.next = step{}
	if g.ledger == nil {
		if err := g.Sync(ctx); err != nil {
			return false
		}
	}
	g.retries++
	return true
}

// brokenThrough waits, if what collectives inside passes run on is broken, until the
// whole generation is, which follows: or passes would be run again on it.
func (g *Group) brokenThrough(ctx context.Context) bool {
	gen := g.current()
	if gen == nil || gen.inner == nil || gen.inner.Err() == nil {
		return true
	}
	select {
	case <-gen.comm.Done():
		return true
	case <-ctx.Done():
		return false
	}
}

// bind opens what collectives inside passes run on.
func (g *Group) bind(ctx context.Context, gen *generation) (err error) {
	if !g.bound {
		return nil
	}
	ranks := make([]int, len(gen.view.Peers))
	for i := range ranks {
		ranks[i] = i
	}
	if len(ranks) == 1 {
		gen.inner = gen.comm
		return nil
	}
	gen.inner, err = gen.comm.Group(ctx, ranks)
	return err
}

// goOn waits, in a loop without Shards, for the ring of the next pass.
func (g *Group) goOn(ctx context.Context) error {
	if !g.bound || g.ledger != nil {
		return nil
	}
	return g.Sync(ctx)
}

// passes returns how many passes of so many samples each peer makes in a step.
func (s step) passes(shard int) int {
	most := 1
	for _, h := range s.hands {
		most = max(most, (len(h)+shard-1)/shard)
	}
	return most
}
