package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/ringrun/ringrun/elastic/chaos"
)

const (
	lookTime   = 100 * time.Millisecond // between two looks at the workers
	growth     = 64 << 10               // KiB by which the memory of a worker may grow after its start
	settleTime = 50                     // looks after which a worker has all that it needs
)

// A stall measures how long no step is committed, leaving out the time for which
// there is an excuse.
type stall struct {
	began, ended  bool
	looked        time.Time
	idle, longest time.Duration
}

func (s *stall) step() { s.began, s.idle = true, 0 }
func (s *stall) end()  { s.ended = true }

func (s *stall) look(now time.Time, excused bool) {
	if s.began && !s.ended && !excused && !s.looked.IsZero() {
		s.idle += now.Sub(s.looked)
		s.longest = max(s.longest, s.idle)
	}
	s.looked = now
}

// segments lists the shared memory that has names.
func segments() map[string]bool {
	have := map[string]bool{}
	entries, _ := os.ReadDir("/dev/shm") // none: nothing can be left there
	for _, e := range entries {
		have[e.Name()] = true
	}
	return have
}

// verdict says how the run went, in lines, and whether all promises were kept.
func (tr *troupe) verdict(played error) bool {
	for _, a := range tr.actors {
		if played != nil {
			a.kill() // whoever still runs hangs, or is not wanted any more
		}
		<-a.gone
	}
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.out.note("%s", tr.summary())
	var broken []string
	add := func(format string, args ...any) { broken = append(broken, fmt.Sprintf(format, args...)) }
	if played != nil {
		add("%v", played)
	}
	end := tr.checkEnds(add)
	if lost, err := tr.audit.Verify(end); err != nil {
		add("%v", err)
	} else if lost > 0 {
		tr.out.note("%s committed by workers in their last moment alone, and made again by the others", count(lost, "step"))
	}
	if tr.stall.longest > tr.t.hang {
		add("no step for %v, though most workers ran and could reach each other", tr.stall.longest.Round(lookTime))
	}
	for name := range segments() {
		if !tr.shm[name] && strings.Contains(name, "ringrun") {
			add("the shared memory %s is left", name)
		}
	}
	for _, b := range broken {
		tr.out.note("BROKEN: %s", b)
	}
	if len(broken) == 0 {
		tr.out.note("all promises kept: completed, every sample once, equal bits after each step, one group, no hang over %v, nothing left", tr.t.hang)
	}
	return len(broken) == 0
}

func (tr *troupe) summary() string {
	var kinds []string
	total := 0
	for k, n := range tr.faults {
		total += n
		kinds = append(kinds, fmt.Sprintf("%d %s", n, k))
	}
	slices.Sort(kinds)
	rss := 0
	for _, a := range tr.actors {
		rss = max(rss, slices.Max(append(a.rss, 0)))
	}
	return fmt.Sprintf("%s (%s), %s, %d steps, %d views, longest time without a step %v, most memory %d MiB",
		count(total, "fault"), strings.Join(kinds, ", "), count(len(tr.actors), "worker"), tr.audit.Steps(), tr.epoch,
		tr.stall.longest.Round(lookTime), rss>>10)
}

// checkEnds looks how each worker ended: those who were not struck must have
// finished alike, unless they came when there was nobody any more. It returns the
// hash of what they hold at the end.
func (tr *troupe) checkEnds(add func(format string, args ...any)) string {
	var first *actor
	for _, a := range tr.actors {
		switch {
		case a.orphan:
			add("worker %d left processes behind", a.number)
		case a.struck != "" && !a.done:
		case a.done:
			if first == nil {
				first = a
			}
			if a.steps != first.steps || a.sum != first.sum {
				add("worker %d ends with state %s after %d steps, worker %d with %s after %d", a.number, a.sum, a.steps, first.number, first.sum, first.steps)
			}
		case tr.anyDone() && (a.late || tooLate(a.why)):
			tr.out.note("worker %d came too late: %s", a.number, a.why)
		default:
			add("worker %d ended with %s: %s", a.number, a.status, a.why)
		}
		if n := len(a.rss); n > 2*settleTime && a.struck != chaos.Kill {
			if grown := a.rss[n-1] - slices.Max(a.rss[:n/2]); grown > growth {
				add("worker %d has grown by %d MiB since half of its time", a.number, grown>>10)
			}
		}
	}
	if first == nil {
		add("no worker has finished")
		return ""
	}
	return first.sum
}

func (tr *troupe) anyDone() bool {
	return slices.ContainsFunc(tr.actors, func(a *actor) bool { return a.done })
}

// tooLate reports whether a worker failed because the run had ended when it
// wanted to join, for the first time or again.
func tooLate(why string) bool {
	return slices.ContainsFunc([]string{"nobody answers", "not let in", "nobody is left who could", "nobody has answered", "hung up"}, func(s string) bool {
		return strings.Contains(why, s)
	})
}
