package elastic

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// An AuditReport is what CheckAudit has found.
type AuditReport struct {
	Run        string
	First      uint64   // step that is recorded, and
	Last       uint64   // the last one
	Views      int      // epochs
	Walks      int      // through the data that are recorded from the first step to the last, and complete
	Again      int      // steps that only dead peers had committed, done again
	Compared   int      // steps after which the states were compared
	Problems   []string // what is wrong; at most maxProblems of them
	Unrecorded int      // further problems
}

const maxProblems = 20

// CheckAudit reads the records of one run, from one file or several, in any order.
// It reports whether every sample of every walk was consumed exactly once, and
// whether the peers' states were equal whenever they were compared. What a run
// that was started again from a checkpoint has done before, after that step,
// does not count.
func CheckAudit(files ...io.Reader) (AuditReport, error) {
	a := newAudit()
	for _, f := range files {
		lines := bufio.NewScanner(f)
		lines.Buffer(nil, 64<<20)
		for n := 1; lines.Scan(); n++ {
			if len(lines.Bytes()) == 0 {
				continue
			}
			var r Record
			if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
				return AuditReport{}, fmt.Errorf("elastic: audit, line %d: %w", n, err)
			}
			a.take(r)
		}
		if err := lines.Err(); err != nil {
			return AuditReport{}, fmt.Errorf("elastic: audit: %w", err)
		}
	}
	if len(a.steps) == 0 {
		return AuditReport{}, fmt.Errorf("elastic: audit: no step is recorded")
	}
	a.check()
	return a.AuditReport, nil
}

type audit struct {
	AuditReport
	samples *Samples
	epochs  map[uint64]bool
	steps   map[uint64]Record // the one that counts, by number
	states  map[uint64]map[string]string
}

func newAudit() *audit {
	return &audit{epochs: map[uint64]bool{}, steps: map[uint64]Record{}, states: map[uint64]map[string]string{}}
}

func (a *audit) problem(format string, args ...any) {
	if len(a.Problems) == maxProblems {
		a.Unrecorded++
		return
	}
	a.Problems = append(a.Problems, fmt.Sprintf(format, args...))
}

func (a *audit) take(r Record) {
	if a.Run != r.Run {
		a.restart(r)
	}
	switch r.Kind {
	case "view":
		a.epochs[r.Epoch] = true
		if a.samples == nil {
			a.samples = r.Samples
		}
	case "step":
		a.step(r)
	case "state":
		if a.states[r.Step] == nil {
			a.states[r.Step] = map[string]string{}
		}
		maps.Copy(a.states[r.Step], r.Sums)
	default:
		a.problem("a record of kind %q", r.Kind)
	}
}

// restart begins a run, maybe from a checkpoint of the one before: what that has
// done later does not count.
func (a *audit) restart(r Record) {
	if a.Run != "" && r.Kind != "view" {
		a.problem("step %d is of run %s, those before are of %s", r.Step, r.Run, a.Run)
		return
	}
	a.Run = r.Run
	a.epochs = map[uint64]bool{}
	later := func(step uint64) bool { return step > r.Step }
	maps.DeleteFunc(a.steps, func(step uint64, _ Record) bool { return later(step) })
	maps.DeleteFunc(a.states, func(step uint64, _ map[string]string) bool { return later(step) })
}

func (a *audit) step(r Record) {
	old, seen := a.steps[r.Step]
	switch {
	case !seen || old.Run != r.Run:
	case old.Epoch != r.Epoch:
		a.Again++
		if old.Epoch > r.Epoch {
			return
		}
	case !reflect.DeepEqual(old, r):
		a.problem("step %d is recorded in two ways in view %d", r.Step, r.Epoch)
	}
	a.steps[r.Step] = r
}

func (a *audit) check() {
	order := slices.Sorted(maps.Keys(a.steps))
	a.First, a.Last, a.Views = order[0], order[len(order)-1], len(a.epochs)
	if n := a.Last - a.First + 1; n != uint64(len(order)) {
		for i, s := range order[1:] {
			if s != order[i]+1 {
				a.problem("steps %d to %d are not recorded", order[i]+1, s-1)
			}
		}
	}
	a.walks(order)
	for _, step := range slices.Sorted(maps.Keys(a.states)) {
		a.Compared++
		a.state(step)
	}
}

func (a *audit) state(step uint64) {
	who := map[string][]string{}
	for _, id := range slices.Sorted(maps.Keys(a.states[step])) {
		sum := a.states[step][id]
		who[sum] = append(who[sum], id)
	}
	if len(who) > 1 {
		var sides []string
		for _, sum := range slices.Sorted(maps.Keys(who)) {
			sides = append(sides, strings.Join(who[sum], ", "))
		}
		a.problem("after step %d the states differed: %s", step, strings.Join(sides, " against "))
	}
}

// walks follows the samples through the steps.
func (a *audit) walks(order []uint64) {
	if a.samples == nil {
		return // the program deals with samples itself
	}
	walk := a.steps[order[0]].Walk
	whole := order[0] == 1 // the first walk is recorded from its beginning
	taken := make(map[int]uint64)
	for _, n := range order {
		r := a.steps[n]
		if r.Walk != walk {
			if r.Walk < walk {
				a.problem("step %d goes back to walk %d, after walk %d", n, r.Walk, walk)
			}
			a.ended(walk, whole, taken)
			walk, whole, taken = r.Walk, true, make(map[int]uint64)
		}
		for _, s := range r.Took {
			for _, span := range s.Positions {
				for p := span[0]; p <= span[1]; p++ {
					a.position(walk, p, n, taken)
				}
			}
		}
	}
	if len(taken) == a.samples.Count && whole {
		a.Walks++
	}
}

func (a *audit) position(walk, p int, step uint64, taken map[int]uint64) {
	switch before, twice := taken[p]; {
	case p < 0 || p >= a.samples.Count:
		a.problem("step %d consumed position %d of %d", step, p, a.samples.Count)
	case twice:
		a.problem("walk %d: position %d was consumed twice, in steps %d and %d", walk, p, before, step)
	default:
		taken[p] = step
	}
}

func (a *audit) ended(walk int, whole bool, taken map[int]uint64) {
	missing := a.samples.Count - len(taken)
	switch {
	case !whole:
	case missing == 0:
		a.Walks++
	default:
		p := 0
		for taken[p] > 0 {
			p++
		}
		a.problem("walk %d: %d positions were not consumed, the first is %d", walk, missing, p)
	}
}
