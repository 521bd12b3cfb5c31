// Package autopsy finds out from what is left of a run why it ended, or what
// happened to it: [Examine] reads the black boxes of its peers, and what those who
// started them know of their ends, and gives one [Fault] as the cause.
package autopsy

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ringrun/ringrun/elastic/blackbox"
)

// A Case is all that is known of a run.
type Case struct {
	Boxes []blackbox.Recording
	Ends  []blackbox.End
	// Boot is that of the host by whose clock times are given. Default: that of
	// the first box.
	Boot string
	// Clocks of hosts, as they were found to differ from that of Boot.
	Clocks []Clock
	// Look says what a process does now: one of the states below. Default: unknown.
	Look func(blackbox.Header) State
}

// A Clock is by how much that of a host is ahead, give or take Slack, in nanoseconds.
type Clock struct {
	Boot         string
	Ahead, Slack int64
}

// A State is what a process does now.
type State string

const (
	Unknown  State = ""
	Running  State = "running"
	Stopped  State = "stopped" // by SIGSTOP, or a debugger
	Gone     State = "gone"
	Rebooted State = "rebooted" // the host has started again since
)

// An Outcome is how the run stands.
type Outcome string

const (
	Well    Outcome = "ended well"
	GoesOn  Outcome = "goes on"
	Halted  Outcome = "was ended" // by its launcher, or whoever could
	Failed  Outcome = "failed"
	Nothing Outcome = "unknown"
)

// A Report is what Examine finds. Times are in nanoseconds since 1970.
type Report struct {
	Run      string  `json:"run"`
	Outcome  Outcome `json:"outcome"`
	Cause    string  `json:"cause"` // one line
	Fault    *Fault  `json:"fault,omitempty"`
	Faults   []Fault `json:"faults,omitempty"` // all of them, in the order of their times
	Peers    []Peer  `json:"peers"`
	Timeline []Line  `json:"timeline"`
	// Unknown peers are those of which nothing is left, Unaligned those whose
	// clock nobody has compared with the others'.
	Missing   []string `json:"missing,omitempty"`
	Unaligned []string `json:"unaligned,omitempty"`
}

// A Peer is one process of the run.
type Peer struct {
	Name   string   `json:"name"`
	IDs    []string `json:"ids"` // more than one if it has joined again
	Host   string   `json:"host"`
	Fate   string   `json:"fate"`
	Step   uint64   `json:"step"` // committed
	Phase  string   `json:"phase"`
	Seen   int64    `json:"seen"` // the last sign of life
	Memory uint64   `json:"memory"`
	Copy   string   `json:"copy,omitempty"` // who kept the copy, if that is all there is
}

// Examine finds out what happened.
func Examine(c Case) Report {
	x := newExam(c)
	for _, p := range x.procs {
		x.death(p)
		x.exclusions(p)
	}
	x.losses()
	x.pauses()
	x.divergences()
	x.stalls()
	x.checkpoints()
	slices.SortStableFunc(x.faults, func(a, b Fault) int { return cmp.Compare(a.Time, b.Time) })
	x.recoveries()
	r := Report{Run: x.run, Outcome: x.outcome(), Faults: x.faults, Missing: x.missing(), Unaligned: x.unaligned}
	r.Fault = choose(x.faults)
	r.Cause = x.sentence(r)
	for _, p := range x.procs {
		r.Peers = append(r.Peers, x.peer(p))
	}
	r.Timeline = x.timeline(r)
	return r
}

// An exam is an autopsy in progress.
type exam struct {
	Case
	run       string
	procs     []*proc
	byID      map[string]*proc
	faults    []Fault
	unaligned []string
}

// A proc is one process.
type proc struct {
	name  string
	ids   []string
	box   blackbox.Recording // with times by the common clock; no ID: there is none
	end   *blackbox.End      // likewise; nil: nobody knows
	state State
	host  string
	boot  string
	lost  int64 // when the others went on without it; 0: they did not, or it came back
}

func newExam(c Case) *exam {
	x := &exam{Case: c, byID: map[string]*proc{}}
	if x.Look == nil {
		x.Look = func(blackbox.Header) State { return Unknown }
	}
	boxes := blackbox.Combine(c.Boxes)
	for i := range boxes {
		h := boxes[i].Header
		x.procs = append(x.procs, &proc{box: boxes[i], ids: idsOf(boxes[i]), host: h.Host, boot: h.Boot, state: x.Look(h)})
		x.run = cmp.Or(x.run, h.Run)
	}
	for i := range c.Ends {
		x.matchEnd(c.Ends[i])
	}
	x.name()
	x.align()
	return x
}

func idsOf(r blackbox.Recording) []string {
	all := []string{r.Header.ID}
	for _, e := range r.Events {
		if e.Kind == blackbox.Named && e.Peer != "" && !slices.Contains(all, e.Peer) {
			all = append(all, e.Peer)
		}
	}
	return all
}

// matchEnd gives an end to its process.
func (x *exam) matchEnd(e blackbox.End) {
	x.run = cmp.Or(x.run, e.Run)
	for _, p := range x.procs {
		h := p.box.Header
		if h.ID == e.ID && (h.PID == e.PID || h.Boot != e.Boot) && (p.end == nil || p.end.Time == e.Time) {
			p.end, p.host = &e, cmp.Or(p.host, e.Host)
			return
		}
	}
	x.procs = append(x.procs, &proc{ids: []string{e.ID}, end: &e, host: e.Host, boot: e.Boot, state: Gone})
}

// name calls each process by the beginning of its ID, where that is enough.
func (x *exam) name() {
	count := map[string]int{}
	for _, p := range x.procs {
		count[base(p.ids[0])]++
	}
	for _, p := range x.procs {
		p.name = p.ids[0]
		if b := base(p.ids[0]); count[b] == 1 {
			p.name = b
		}
		for _, id := range p.ids {
			x.byID[id] = p
		}
	}
}

func base(id string) string {
	if i := strings.LastIndexByte(id, '-'); i > 0 {
		return id[:i]
	}
	return id
}

// called replaces the IDs in a text by names.
func (x *exam) called(text string) string {
	ids := slices.SortedFunc(maps.Keys(x.byID), func(a, b string) int { // one may begin with another
		return cmp.Or(cmp.Compare(len(b), len(a)), strings.Compare(a, b))
	})
	for _, id := range ids {
		text = strings.ReplaceAll(text, id, x.byID[id].name)
	}
	return text
}

func (x *exam) nameOf(id string) string {
	if p := x.byID[id]; p != nil {
		return p.name
	}
	return id
}

// seen is the last sign of life.
func (p *proc) seen() int64 {
	t := p.box.Gauge.Time
	if n := len(p.box.Events); n > 0 {
		t = max(t, p.box.Events[n-1].Time)
	}
	if p.end != nil && t == 0 {
		t = p.end.Time
	}
	return t
}

// last returns the newest event of one of the kinds.
func (p *proc) last(kinds ...blackbox.Kind) (blackbox.Event, bool) {
	for _, e := range slices.Backward(p.box.Events) {
		if slices.Contains(kinds, e.Kind) {
			return e, true
		}
	}
	return blackbox.Event{}, false
}

// left reports whether the process has ended its part by itself and well.
func (p *proc) left() bool {
	_, ok := p.last(blackbox.Done, blackbox.Drained, blackbox.Over)
	return ok
}

func (x *exam) outcome() Outcome {
	well, halted, known := 0, false, false
	for _, p := range x.procs {
		if p.state == Running || p.state == Stopped {
			return GoesOn
		}
		if p.left() {
			well++
		}
		known = true
	}
	for _, f := range x.faults {
		halted = halted || f.What == Ended
	}
	switch {
	case well > 0:
		return Well
	case halted:
		return Halted
	case known:
		return Failed
	}
	return Nothing
}

// missing returns the members of views of which nothing is left.
func (x *exam) missing() (all []string) {
	for _, p := range x.procs {
		for _, e := range p.box.Events {
			for _, id := range e.Peers {
				if e.Kind == blackbox.View && x.byID[id] == nil && !slices.Contains(all, id) {
					all = append(all, id)
				}
			}
		}
	}
	slices.Sort(all)
	return all
}

func (x *exam) peer(p *proc) Peer {
	g := p.box.Gauge
	return Peer{
		Name: p.name, IDs: p.ids, Host: p.host, Fate: x.fate(p), Step: g.Step, Phase: g.Phase,
		Seen: p.seen(), Memory: g.Memory, Copy: p.box.Header.Keeper,
	}
}

// fate says in a few words how a process ended.
func (x *exam) fate(p *proc) string {
	if _, ok := p.last(blackbox.Drained); ok {
		return "drained"
	}
	if _, ok := p.last(blackbox.Over); ok {
		return "came back when the run had ended"
	}
	if p.left() {
		return "done"
	}
	for _, f := range slices.Backward(x.faults) {
		if f.Peer == p.name && f.fatal {
			return f.Text
		}
	}
	switch {
	case p.state != Unknown && p.state != Gone:
		return string(p.state)
	case p.end != nil && p.end.Signal == "" && p.end.Status == 0:
		return "ended with status 0"
	}
	return "not known"
}

// at is a time of day.
func at(t int64) string { return time.Unix(0, t).Format("15:04:05.000") }
