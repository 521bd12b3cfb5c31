package elastic

import (
	"fmt"

	"github.com/cespare/xxhash/v2"
)

// tell reports a step that was just committed, if the launcher wants that of every
// step: which positions it consumed, in which walk through the data, and the hash
// of the state before and after it (elastic/chaos.Step). Peers that committed the
// same steps report the same.
func (g *Group) tell() error {
	if !g.cfg.ReportSteps {
		return nil
	}
	sum := xxhash.New()
	if err := g.save(sum); err != nil {
		return err
	}
	e := event{Event: "step", ID: g.id(), Epoch: g.Epoch(), Steps: g.steps, Was: sumText(g.sum), Sum: sumText(sum.Sum64())}
	g.sum = sum.Sum64()
	if l := g.ledger; l != nil {
		e.Walk, e.Count, e.Taken = l.Epoch, l.Samples.Count, g.next.consumed
		if l.Cursor == 0 { // the step was the last of its walk
			e.Walk--
		}
	}
	g.report.send(e)
	return nil
}

func sumText(sum uint64) string { return fmt.Sprintf("%016x", sum) }

// weigh notes the hash of the state that a generation begins with, for tell.
func (g *Group) weigh() error {
	if !g.cfg.ReportSteps {
		return nil
	}
	sum := xxhash.New()
	err := g.save(sum)
	g.sum = sum.Sum64()
	return err
}
