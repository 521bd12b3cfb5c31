package chaos

import (
	"errors"
	"fmt"
)

// ErrAudit is wrapped by all that an [Audit] finds wrong.
var ErrAudit = errors.New("chaos: the books do not balance")

// A Step is what one peer reports about a step that it has committed.
type Step struct {
	ID    string `json:"id"`
	View  uint64 `json:"epoch"`
	Steps uint64 `json:"steps"` // committed, this one included
	Was   string `json:"was"`   // hash of the state before it
	Sum   string `json:"sum"`   // and after it
	Walk  int    `json:"walk"`  // walks through the data that were complete before it
	Count int    `json:"count"` // samples in the data; 0: the program deals with them itself
	Taken []int  `json:"taken"` // positions consumed
}

// An Audit holds what all peers report about their steps against what was promised:
// the peers of a view commit the same bits; one history leads to the end, in which
// every sample of a walk was consumed once; and beside it there are no others, but
// for single steps that a peer committed in its last moment, alone, and whose bits
// nobody has taken over.
type Audit struct {
	steps map[state]Step
	views map[inView]Step
	last  Step
	err   error
}

// A state is the one that all peers hold after so many steps, named by its hash.
type state struct {
	steps uint64
	sum   string
}

type inView struct{ view, steps uint64 }

// Add takes up a report.
func (a *Audit) Add(s Step) {
	if a.steps == nil {
		a.steps, a.views = map[state]Step{}, map[inView]Step{}
	}
	if other, known := a.views[inView{s.View, s.Steps}]; known && other.Sum != s.Sum && a.err == nil {
		a.err = fmt.Errorf("%w: in view %d, %s and %s end step %d with different bits, %s and %s",
			ErrAudit, s.View, other.ID, s.ID, s.Steps, other.Sum, s.Sum)
	}
	a.views[inView{s.View, s.Steps}] = s
	a.steps[state{s.Steps, s.Sum}] = s
	if s.Steps >= a.last.Steps {
		a.last = s
	}
}

// Steps returns the number of the newest step.
func (a *Audit) Steps() uint64 { return a.last.Steps }

// Verify checks the books of a run that has ended with a state of this hash; none:
// with that of the last step. It returns how many single steps were lost with those
// who had committed them.
func (a *Audit) Verify(end string) (lost int, err error) {
	if a.err != nil {
		return 0, a.err
	}
	if a.steps == nil {
		return 0, fmt.Errorf("%w: no step was reported", ErrAudit)
	}
	if end == "" {
		end = a.last.Sum
	}
	at := state{a.last.Steps, end}
	history := map[state]bool{}
	walks := map[int]map[int]uint64{} // position to the step that consumed it
	for at.steps > 0 {
		s, known := a.steps[at]
		if !known {
			return 0, fmt.Errorf("%w: nobody has reported step %d, which led to the state %s", ErrAudit, at.steps, at.sum)
		}
		if err := enter(walks, s); err != nil {
			return 0, err
		}
		history[at] = true
		at = state{at.steps - 1, s.Was}
	}
	if err := a.complete(walks); err != nil {
		return 0, err
	}
	return a.aside(history)
}

// enter notes what a step has consumed.
func enter(walks map[int]map[int]uint64, s Step) error {
	if walks[s.Walk] == nil {
		walks[s.Walk] = map[int]uint64{}
	}
	for _, p := range s.Taken {
		if other, twice := walks[s.Walk][p]; twice {
			return fmt.Errorf("%w: position %d of walk %d was consumed twice, by steps %d and %d", ErrAudit, p, s.Walk, s.Steps, other)
		}
		walks[s.Walk][p] = s.Steps
	}
	return nil
}

// complete checks that all walks but the last are.
func (a *Audit) complete(walks map[int]map[int]uint64) error {
	for w := range a.last.Walk {
		if got := len(walks[w]); got != a.last.Count {
			return fmt.Errorf("%w: walk %d has consumed %d of %d samples", ErrAudit, w, got, a.last.Count)
		}
	}
	return nil
}

// aside counts the steps that are not part of the history. Two in a row would be a
// second group.
func (a *Audit) aside(history map[state]bool) (int, error) {
	n := 0
	for at, s := range a.steps {
		if history[at] {
			continue
		}
		n++
		before := state{at.steps - 1, s.Was}
		if _, known := a.steps[before]; known && !history[before] {
			return 0, fmt.Errorf("%w: two groups: %s went on to step %d in view %d from a state that the others have not had",
				ErrAudit, s.ID, s.Steps, s.View)
		}
	}
	return n, nil
}
