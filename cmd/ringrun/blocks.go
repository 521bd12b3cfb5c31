package main

import (
	"fmt"
	"strings"

	"github.com/ringrun/ringrun/elastic"
)

// A blockLog is what was said of peers that keep others waiting, so that what all
// peers report is told once.
type blockLog struct {
	stall  string          // the last step and those it waits for
	silent map[string]bool // peers by their IDs, which are never used again
	slow   map[string]bool
}

// stalled names those for whom a step waits.
func (j *job) stalled(step uint64, who []string, what string) {
	key := fmt.Sprint(step, who, strings.Count(what, "does not answer"))
	if key != j.blocks.stall && !j.halting {
		j.blocks.stall = key
		j.out.note("step %d waits for %s", step, j.named(what))
	}
}

// silent names one that was given up.
func (j *job) silent(who []string, why string) {
	if len(who) != 1 || j.blocks.silent[who[0]] || j.halting {
		return
	}
	if j.blocks.silent == nil {
		j.blocks.silent = map[string]bool{}
	}
	j.blocks.silent[who[0]] = true
	if _, text, ok := strings.Cut(why, ": "); ok { // the lane says nothing to who reads this
		why = text
	}
	j.out.note("%s", j.named(why))
}

// slow names one that computes slower than the others, or does so no longer.
func (j *job) slow(s *elastic.Slow, is bool) {
	if s == nil || j.blocks.slow[s.ID] == is || j.halting {
		return
	}
	if j.blocks.slow == nil {
		j.blocks.slow = map[string]bool{}
	}
	j.blocks.slow[s.ID] = is
	if is {
		j.out.note("%s", j.named(s.String()))
	} else {
		j.out.note("%s", j.named(s.ID+" is as fast as the others again"))
	}
}

// named puts the names of workers in place of the IDs of peers.
func (j *job) named(text string) string {
	for id, w := range j.views.index {
		text = strings.ReplaceAll(text, id, fmt.Sprintf("p%d", w))
	}
	return text
}
