package elastic

import (
	"errors"
	"testing"

	"github.com/ringrun/ringrun/ring"
)

// All peers make as many passes as the one with the most shards.
func TestPassesOfAStep(t *testing.T) {
	for _, tt := range []struct {
		hands []int
		shard int
		want  int
	}{{[]int{3, 3}, 3, 1}, {[]int{4, 3}, 3, 2}, {[]int{0, 0, 7}, 3, 3}, {[]int{0}, 5, 1}} {
		var s step
		for _, n := range tt.hands {
			s.hands = append(s.hands, make([]int, n))
		}
		if got := s.passes(tt.shard); got != tt.want {
			t.Errorf("hands of %v in shards of %d: %d passes, want %d", tt.hands, tt.shard, got, tt.want)
		}
	}
}

// Without BindPasses there is no communicator for passes, and nothing to run again;
// with it, but no ring, there is an error to run it again for.
func TestPassNeedsARing(t *testing.T) {
	g := &Group{}
	if _, _, err := g.Pass(); err == nil || errors.Is(err, ring.ErrBroken) {
		t.Errorf("a pass that is not bound: error %v", err)
	}
	if g.Again(t.Context(), ring.ErrBroken) {
		t.Error("a pass that is not bound is run again")
	}
	g.BindPasses()
	if _, _, err := g.Pass(); !errors.Is(err, ring.ErrBroken) {
		t.Errorf("no ring: error %v, want one that wraps %v", err, ring.ErrBroken)
	}
	g.ledger = &ledger{}
	if g.Again(t.Context(), errUncommitted) || !g.Again(t.Context(), ring.ErrBroken) {
		t.Error("another error is one to run a pass again for, or a broken ring is not")
	}
}
