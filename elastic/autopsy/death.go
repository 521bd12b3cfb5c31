package autopsy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ringrun/ringrun/elastic/blackbox"
)

// death looks how a process ended, if not well.
func (x *exam) death(p *proc) {
	f := Fault{Time: p.seen(), fatal: true}
	panicked, crashed := p.last(blackbox.Panicked)
	failed, erred := p.last(blackbox.Failed)
	asked, wasAsked := p.last(blackbox.Asked)
	switch {
	case wasAsked && !p.left():
		f.What, f.Time, f.Text = Ended, asked.Time, "was asked to end "+asked.Text
	case p.end != nil && p.end.Asked != "" && !p.left():
		f.What, f.Time, f.Text = Ended, p.end.Time, "was ended: "+p.end.Asked
	case p.end != nil && p.end.OOM && p.end.Number == 9:
		f.What, f.Time, f.Text = OOM, p.end.Time, "was killed by signal 9 (out of memory: "+p.memory()+")"
	case crashed:
		f.What, f.Time, f.Text = Crashed, panicked.Time, "crashed: panic: "+panicked.Text
	case p.end != nil && p.end.Crash != "":
		f.What, f.Time, f.Text = Crashed, p.end.Time, "crashed: "+p.end.Crash
	case p.end != nil && p.end.Signal != "":
		f.What, f.Time = Killed, p.end.Time
		f.Text = fmt.Sprintf("was killed by signal %d (%s)", p.end.Number, p.end.Signal)
	case erred:
		f.What, f.Time, f.Text = Error, failed.Time, "failed: "+failed.Text
	case p.end != nil && p.end.Status != 0:
		f.What, f.Time, f.Text = Exited, p.end.Time, fmt.Sprintf("ended with status %d, without a word to the others", p.end.Status)
		if p.end.Last != "" {
			f.Text += ": " + p.end.Last
		}
	case p.left() || p.end != nil || p.state == Running || p.state == Stopped:
		return
	default:
		f.What, f.Text = x.vanished(p)
	}
	p.lost = x.lostAt(p)
	f.minor = p.left() || p.lost > 0 && f.Time > p.lost+int64(time.Second) // the others did not need it any more
	if f.class() == 3 {
		f = p.doing(f)
		f.Time = min(f.Time, x.noticed(p, f.Time))
	}
	x.add(p, f)
}

// noticed returns when others noticed that a process was gone, if that was before
// its agent did.
func (x *exam) noticed(p *proc, gone int64) int64 {
	first := gone
	for _, q := range x.procs {
		for _, e := range q.box.Events {
			if q == p || e.Time < p.seen() || e.Time >= first {
				continue
			}
			broke := e.Kind == blackbox.RingBroke && slices.ContainsFunc(p.ids, func(id string) bool { return strings.Contains(e.Text, id) })
			if broke || e.Kind == blackbox.Dead && x.byID[e.Peer] == p {
				first = e.Time
			}
		}
	}
	return first
}

// vanished says what is known of a process whose end nobody saw.
func (x *exam) vanished(p *proc) (What, string) {
	switch {
	case p.state == Rebooted:
		return HostGone, "was on a host that has started again since"
	case p.box.Header.Keeper != "":
		return HostGone, fmt.Sprintf("is gone, or out of reach, with its host: only the copy of its black box at %s is left", x.nameOf(p.box.Header.Keeper))
	case p.state == Gone:
		return Vanished, "is gone, and nobody saw how: it was killed together with its launcher, or has exited without a word"
	}
	return Vanished, "has not been heard of since"
}

// memory says how much a process had, and how much it might have.
func (p *proc) memory() string {
	used := max(p.end.Memory, p.box.Gauge.Memory)
	limit := cmp.Or(p.box.Header.Limit, p.end.Limit) // its own word first: a script that starts it may have put it into a group
	if limit == 0 {
		return fmt.Sprintf("%s in use", bytes(used))
	}
	return fmt.Sprintf("%s in use, the limit is %s", bytes(used), bytes(limit))
}

func bytes(n uint64) string {
	switch f := float64(n); {
	case f >= 1e9:
		return fmt.Sprintf("%.1f GB", f/1e9)
	case f >= 1e6:
		return fmt.Sprintf("%.0f MB", f/1e6)
	default:
		return fmt.Sprintf("%.0f kB", f/1e3)
	}
}

// lostAt returns when the others made a view without a process that neither was
// proven dead nor left, and which did not come back; 0 if they did not.
func (x *exam) lostAt(p *proc) int64 {
	first := int64(0)
	for _, q := range x.procs {
		t, in := int64(0), false
		for _, e := range q.box.Events {
			if e.Kind != blackbox.View || q == p {
				continue
			}
			has := false
			for _, id := range e.Peers {
				has = has || x.byID[id] == p
			}
			if in && !has {
				t = e.Time
			}
			if has {
				t = 0
			}
			in = has
		}
		if t > 0 && (first == 0 || t < first) {
			first = t
		}
	}
	return first
}

// proven reports whether somebody had a proof that a process was dead when the
// others lost it.
func (x *exam) proven(p *proc, lost int64) bool {
	for _, q := range x.procs {
		for _, e := range q.box.Events {
			if e.Kind == blackbox.Dead && x.byID[e.Peer] == p && e.Time < lost+soon && e.Time > lost-5*soon {
				return true
			}
		}
	}
	return false
}

// losses looks for processes that the others lost although they were not dead, and
// that have not said so themselves.
func (x *exam) losses() {
	for _, p := range x.procs {
		lost := x.lostAt(p)
		if _, said := p.last(blackbox.Excluded); lost == 0 || said || p.left() || len(p.box.Events) == 0 || x.proven(p, lost) {
			continue
		}
		if x.drains(p, lost) {
			continue
		}
		if p.end != nil && p.end.Time < lost { // it was dead, proven or not
			continue
		}
		silent := max(p.box.Header.Silent, int64(100*time.Millisecond))
		f := Fault{Time: p.seen()}
		l, lapsed := lapseOver(p.box.Events, lost, silent)
		switch {
		case p.box.Header.Keeper != "" && p.end == nil:
			continue // see vanished
		case lapsed:
			f.What, f.Time, f.Text = Frozen, l.Time-l.Value, frozen(l)
		case p.state == Stopped:
			f.What, f.Text = Frozen, "was stopped (SIGSTOP, or a debugger), and still is"
		case f.Time < lost-silent/2:
			f.What, f.Text = Frozen, "stopped: there is no sign of life from it since, and the others went on without it"
		default:
			f.What, f.Time = Cut, x.suspected(p, lost)
			f.Text = "was cut off: it ran, but the others heard nothing from it, and went on without it"
		}
		if f.What == Frozen && !lapsed { // else the gauge is of a later time
			f = p.doing(f)
		}
		x.add(p, f)
	}
}

// suspected returns when a process was suspected first before it was lost.
func (x *exam) suspected(p *proc, lost int64) int64 {
	t := lost
	for _, q := range x.procs {
		for _, e := range q.box.Events {
			if (e.Kind == blackbox.Suspect || e.Kind == blackbox.Silent) && x.byID[e.Peer] == p && e.Time > lost-10*soon {
				t = min(t, e.Time)
			}
		}
	}
	return t
}

// exclusions looks why a process found that the others had gone on without it.
func (x *exam) exclusions(p *proc) {
	for i, e := range p.box.Events {
		if e.Kind != blackbox.Excluded || x.drains(p, e.Time) {
			continue
		}
		f := Fault{What: Cut, Time: e.Time, Text: "was cut off: it ran, but heard nothing from the others, who went on without it"}
		if l, ok := lapseAt(p.box.Events, i, p.box.Header.Silent); ok && x.own(p, l) {
			f.What, f.Time = Frozen, l.Time-l.Value
			f.Text = frozen(l)
		} else {
			f.Time = x.suspected(p, e.Time)
		}
		if back, ok := x.back(p, e.Time); ok {
			f.Text += fmt.Sprintf("; it joined again %v later", short(time.Duration(back-e.Time)))
		}
		x.add(p, f)
	}
}

// drains reports whether a process left the others because it was asked to: they
// then go on without it, too.
func (x *exam) drains(p *proc, left int64) bool {
	e, asked := p.last(blackbox.Draining)
	_, back := x.back(p, left)
	if lost := x.lostAt(p); lost > 0 { // what it was asked later is not why they went on
		left = min(left, lost)
	}
	return asked && e.Time < left && !back
}

func frozen(l blackbox.Event) string {
	return fmt.Sprintf("did not run for %v (it was stopped, or got no processor), and the others went on without it", short(time.Duration(l.Value)))
}

// lapseOver returns the lapse that a moment, at which the others lost a process, is in,
// or that ended shortly before.
func lapseOver(events []blackbox.Event, lost, silent int64) (blackbox.Event, bool) {
	for _, l := range events {
		if l.Kind == blackbox.Lapse && l.Value >= silent/2 && l.Time-l.Value < lost && l.Time > lost-soon {
			return l, true
		}
	}
	return blackbox.Event{}, false
}

// lapseAt returns the lapse around the i-th event that explains a silence.
func lapseAt(events []blackbox.Event, i int, silent int64) (blackbox.Event, bool) {
	for _, l := range events {
		if l.Kind == blackbox.Lapse && l.Value >= silent/2 && l.Time > events[i].Time-5*soon && l.Time < events[i].Time+soon {
			return l, true
		}
	}
	return blackbox.Event{}, false
}

// own reports whether a lapse was that of one process. One that most others had at
// the same time tells that the host was busy, not why it was them who lost this one.
func (x *exam) own(p *proc, l blackbox.Event) bool {
	lapsed, others := 0, 0
	for _, q := range x.procs {
		if q == p || len(q.box.Events) == 0 {
			continue
		}
		others++
		for _, e := range q.box.Events {
			overlap := min(e.Time, l.Time) - max(e.Time-e.Value, l.Time-l.Value)
			if e.Kind == blackbox.Lapse && overlap > l.Value/2 {
				lapsed++
				break
			}
		}
	}
	return 2*lapsed <= others
}

// back returns when a process was in a view again after a moment.
func (x *exam) back(p *proc, after int64) (int64, bool) {
	for _, e := range p.box.Events {
		if e.Kind == blackbox.View && e.Time > after {
			return e.Time, true
		}
	}
	return 0, false
}

// short leaves out digits that say nothing.
func short(d time.Duration) time.Duration {
	switch {
	case d < 0:
		return -short(-d)
	case d >= 10*time.Second:
		return d.Round(time.Second)
	case d >= time.Second:
		return d.Round(100 * time.Millisecond)
	case d >= 10*time.Millisecond:
		return d.Round(time.Millisecond)
	}
	return d.Round(10 * time.Microsecond)
}
