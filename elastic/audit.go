package elastic

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/ringrun/ringrun/membership"
)

// A Record is one line of an audit: what a run has done, in JSON, so that anybody
// can check it (CheckAudit). A step is recorded once, or several times alike.
//
//	view   a view began: Epoch, Peers, and Step, the steps committed before it
//	step   a step was committed: Step counts it, Epoch is that of the view, Walk
//	       the walk through the data from 0 on, Took what each peer contributed
//	state  the state after a step was compared: Sums has the hash of each peer
//
// A step that only peers have committed who died before the others did is done
// again by those: the record of the highest epoch counts.
type Record struct {
	Kind    string            `json:"kind"`
	Run     string            `json:"run"` // ID of the peer that founded the group
	Epoch   uint64            `json:"epoch"`
	Step    uint64            `json:"step"`
	Walk    int               `json:"walk,omitempty"`
	Samples *Samples          `json:"samples,omitempty"` // of a view, if the group deals with samples
	Peers   []string          `json:"peers,omitempty"`   // of a view, in rank order
	Took    []Share           `json:"took,omitempty"`
	Sums    map[string]string `json:"sums,omitempty"`
}

// A Share is what one peer contributed to a step: positions in the order of the
// walk, in ranges from the first to the last of each.
type Share struct {
	Peer      string   `json:"peer"`
	Positions [][2]int `json:"positions,omitempty"`
}

// A clerk keeps the records of one peer. Of the peers with the same Config.Audit
// the one of the lowest rank writes; the others keep what it may not have written
// yet, and write that when the generation has ended: when it has died, or not.
// What it has written before it died is with the launcher, whose pipe outlives it.
type clerk struct {
	name   string // Config.Audit; empty: no records
	report *report
	unsure []Record
}

// scribe reports whether this peer writes the records of a view.
func (c *clerk) scribe(v membership.View, self string) bool {
	for _, p := range v.Peers {
		var m meta
		if json.Unmarshal(p.Meta, &m) == nil && m.Audit == c.name {
			return p.ID == self
		}
	}
	return false
}

// begun records that a generation has begun with all peers equal after a step.
func (c *clerk) begun(g *Group, gen *generation) {
	if c.name == "" {
		return
	}
	c.flush()
	gen.scribe = c.scribe(gen.view, gen.view.Peers[gen.rank].ID)
	if !gen.scribe {
		return
	}
	r := Record{Kind: "view", Peers: ids(gen.view), Step: g.steps}
	if g.ledger != nil {
		r.Samples = &g.ledger.Samples
	}
	c.write(gen, r)
}

// committed records a step.
func (c *clerk) committed(gen *generation, step uint64, walk int, hands [][]int) {
	if c.name == "" {
		return
	}
	r := Record{Kind: "step", Step: step, Walk: walk}
	for rank, p := range gen.view.Peers {
		s := Share{Peer: p.ID}
		if rank < len(hands) {
			s.Positions = ranges(hands[rank])
		}
		r.Took = append(r.Took, s)
	}
	if gen.scribe {
		c.write(gen, r)
		return
	}
	c.unsure = append(c.unsure, r.in(gen))
}

// compared takes up the notes that all peers have sent after a step: the scribe
// wrote of all steps before its own.
func (c *clerk) compared(gen *generation, all notes) {
	if c.name == "" {
		return
	}
	i := 0
	for i < len(c.unsure) && c.unsure[i].Step <= all[gen.rank].Steps {
		i++
	}
	c.unsure = append(c.unsure[:0], c.unsure[i:]...)
	if !gen.scribe || all[gen.rank].StateStep == 0 {
		return
	}
	r := Record{Kind: "state", Step: all[gen.rank].StateStep, Sums: map[string]string{}}
	for rank, n := range all {
		r.Sums[gen.view.Peers[rank].ID] = fmt.Sprintf("%016x", n.State)
	}
	c.write(gen, r)
}

// flush writes what the scribe may not have written.
func (c *clerk) flush() {
	for _, r := range c.unsure {
		c.report.record(r)
	}
	c.unsure = c.unsure[:0]
}

func (c *clerk) write(gen *generation, r Record) { c.report.record(r.in(gen)) }

// in says where the record belongs.
func (r Record) in(gen *generation) Record {
	r.Epoch = gen.view.Epoch
	r.Run, _, _ = strings.Cut(gen.view.Group, "+") // without its last stands
	return r
}

// ranges packs ascending positions.
func ranges(positions []int) [][2]int {
	var out [][2]int
	for _, p := range positions {
		if n := len(out); n > 0 && out[n-1][1] == p-1 {
			out[n-1][1] = p
		} else {
			out = append(out, [2]int{p, p})
		}
	}
	return out
}
