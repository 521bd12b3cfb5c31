package elastic

import (
	"fmt"
	"strings"
)

// A status is what one peer tells the others at the start of a generation.
type status struct {
	ID      string
	Steps   uint64 // steps it has committed
	Sum     uint64 // of its state after them
	Bytes   int64  // in that state, saved
	ViaRing bool   // a direct link has failed here
	Veteran bool   // has shared the state of this group before, or founded it
	Holding bool   // has a gradient for the next step, or is computing it
	Hand    []int  // positions that went into it
	Dealt   int    // for how many peers it was dealt
	Digest  []byte // what the program wants to be equal, or checks itself
	Samples Samples
	Shared  bool        // has shared the state of this group before
	Trail   []footprint `json:",omitempty"` // of the last steps
}

// A plan is what follows from the statuses of all peers; each computes it alone
// and all get the same.
type plan struct {
	Source int    // rank whose state is the group's
	Needs  []bool // ranks whose state is not that one
	Hold   []bool // ranks whose gradient counts
}

// anyNeeds reports whether the state has to travel.
func (p plan) anyNeeds() bool {
	for _, n := range p.Needs {
		if n {
			return true
		}
	}
	return false
}

// decide says whose state is the group's: that of the most steps among the
// veterans, and if they differ there, the one that most of them have, or else
// the one of the lowest rank. Before the first step it is that of rank 0.
func decide(all []status) (plan, error) {
	source := -1
	votes := make(map[uint64]int)
	for _, s := range all {
		if s.Veteran && s.Steps > 0 {
			votes[s.Sum]++
		}
	}
	for r, s := range all {
		if !s.Veteran {
			continue
		}
		if source < 0 || s.Steps > all[source].Steps ||
			s.Steps == all[source].Steps && votes[s.Sum] > votes[all[source].Sum] {
			source = r
		}
	}
	if source < 0 {
		return plan{}, fmt.Errorf("elastic: nobody is left that has the state of this run (%s all joined later)", names(all))
	}
	p := plan{Source: source, Needs: make([]bool, len(all)), Hold: make([]bool, len(all))}
	for r, s := range all {
		p.Needs[r] = s.Steps != all[source].Steps || s.Sum != all[source].Sum
		p.Hold[r] = s.Holding && s.Veteran && !p.Needs[r]
	}
	return p, nil
}

// deal says what each peer contributes to the next step: those that hold a
// gradient what is in it, the others an even part of what is left of the batch.
// When all hold one, what a lost peer had in hand stays for the step after.
// If nothing at all would go into the step, the holders start it anew.
func (p plan) deal(all []status, batch []int, shard int) (hands [][]int, anew bool) {
	hands = make([][]int, len(all))
	var free []int
	held := 0
	for r, s := range all {
		if p.Hold[r] {
			hands[r] = s.Hand
			held += len(s.Hand)
		} else {
			free = append(free, r)
		}
	}
	if len(free) == 0 && held == 0 {
		return nil, true
	}
	for i, part := range assign(without(batch, hands), shard, max(len(free), 1)) {
		if i < len(free) {
			hands[free[i]] = part
		}
	}
	return hands, false
}

// agreed checks that all peers walk through the same data in the same way.
func agreed(all []status) error {
	for _, s := range all {
		if a := all[0]; s.Samples != a.Samples {
			return fmt.Errorf("elastic: peers disagree about the samples: %s has %+v, %s has %+v: start all with the same data set, batch and seed", a.ID, a.Samples, s.ID, s.Samples)
		}
	}
	return nil
}

func names(all []status) string {
	ids := make([]string, len(all))
	for i, s := range all {
		ids[i] = s.ID
	}
	return strings.Join(ids, ", ")
}

// peers returns for how many peers the step in progress was dealt, or else how
// many there are now: a step that was begun keeps its size.
func (p plan) peers(all []status) int {
	for r, s := range all {
		if p.Hold[r] {
			return s.Dealt
		}
	}
	return len(all)
}
