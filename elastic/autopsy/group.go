package autopsy

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ringrun/ringrun/elastic/blackbox"
)

// pauses looks at those who could not go on: whom did they miss, and did those run?
// Then it was the network.
func (x *exam) pauses() {
	var cut *Fault
	for _, p := range x.procs {
		for i, e := range p.box.Events {
			if e.Kind != blackbox.Paused {
				continue
			}
			f := Fault{What: Partition, Time: e.Time, Text: "could not go on: " + e.Text, until: resumed(p.box.Events[i:])}
			f.minor = f.until > 0
			x.add(p, f)
			if missed := x.missed(e); len(missed) > 0 && (cut == nil || e.Time < cut.Time) {
				cut = &Fault{What: Cut, Peer: p.name, Host: p.host, Time: e.Time, until: f.until, Text: fmt.Sprintf(
					"was cut off by the network from %s, which ran, and those who could reach each other were too few to go on", strings.Join(missed, ", "))}
			}
		}
	}
	if cut != nil {
		x.faults = append(x.faults, *cut)
	}
}

// resumed returns when a pause was over, 0 if it was not.
func resumed(events []blackbox.Event) int64 {
	for _, e := range events {
		if e.Kind == blackbox.Resumed {
			return e.Time
		}
	}
	return 0
}

// missed returns those who are named in a pause, and ran in it.
func (x *exam) missed(e blackbox.Event) (names []string) {
	for _, q := range x.procs {
		if slices.ContainsFunc(q.ids, func(id string) bool { return strings.Contains(e.Text, id) }) && q.seen() > e.Time {
			names = append(names, q.name)
		}
	}
	return names
}

// divergences looks for bits that were not alike. All peers say the same of them.
func (x *exam) divergences() {
	told := map[string]bool{}
	for _, p := range x.procs {
		for _, e := range p.box.Events {
			if e.Kind != blackbox.Diverged || told[e.Text] {
				continue
			}
			told[e.Text] = true
			who := p
			if len(e.Peers) > 0 && x.byID[e.Peers[0]] != nil {
				who = x.byID[e.Peers[0]]
			}
			f := Fault{What: Diverged, Time: e.Time, Step: e.Step, Text: "held other bits than the others: " + e.Text}
			for _, id := range e.Peers[min(1, len(e.Peers)):] {
				f.Also = append(f.Also, x.nameOf(id))
			}
			x.add(who, f)
		}
	}
}

// steps returns how many steps anybody has committed.
func (x *exam) steps() uint64 {
	n := uint64(0)
	for _, p := range x.procs {
		n = max(n, p.box.Gauge.Step)
	}
	return n
}

// stalls looks for those who kept others waiting. A stall that a later step ended
// is only slow.
func (x *exam) stalls() {
	told := map[string]bool{}
	for _, p := range x.procs {
		for _, e := range p.box.Events {
			for _, id := range e.Peers {
				if key := fmt.Sprint(id, " ", e.Step); e.Kind == blackbox.Stalled && !told[key] {
					told[key] = true
					x.stall(e, id)
				}
			}
		}
	}
}

// stall adds that a peer kept the others waiting. The text of the event says of each
// what it did: "p1 (computing, 2.1s), p2 (does not answer)".
func (x *exam) stall(e blackbox.Event, id string) {
	who := x.byID[id]
	if who == nil {
		who = &proc{name: id}
	}
	_, what, _ := strings.Cut(e.Text, id+" (")
	what, _, _ = strings.Cut(what, ")")
	f := Fault{What: Stuck, Time: e.Time, Step: e.Step + 1, Phase: what, Text: "kept the others waiting: " + what}
	if g := who.box.Gauge; g.Turn > 0 && g.Step == e.Step && g.Since < e.Time {
		f.Time = g.Since
		f.Text = fmt.Sprintf("kept the others waiting: %s since %s, for %v", g.Phase, at(g.Since), short(time.Duration(who.seen()-g.Since)))
	}
	if x.steps() > e.Step || strings.HasPrefix(what, "does not answer") {
		f.What = ShortStall
	}
	x.add(who, f)
}

// checkpoints looks for those that could not be written.
func (x *exam) checkpoints() {
	for _, p := range x.procs {
		if e, ok := p.last(blackbox.Checkpoint); ok && e.Text != "" {
			f := Fault{What: NoCheck, Time: e.Time, Step: e.Step, Text: "could not write a checkpoint: " + e.Text}
			if strings.Contains(e.Text, "no space left") || strings.Contains(e.Text, "quota exceeded") {
				f.What, f.Text = DiskFull, "could not write a checkpoint, because the disk is full: "+e.Text
			}
			x.add(p, f)
		}
	}
}

// recoveries finds out how long each fault kept the others from going on.
func (x *exam) recoveries() {
	for i := range x.faults {
		f := &x.faults[i]
		if f.class() < 3 || f.What == Stuck {
			continue
		}
		first := int64(0)
		for _, p := range x.procs {
			if p.name == f.Peer {
				continue
			}
			for _, e := range p.box.Events {
				if e.Kind == blackbox.WentOn && e.Time >= f.Time && (first == 0 || e.Time < first) {
					first = e.Time
				}
			}
		}
		if first > 0 {
			f.WentOn, f.until = time.Duration(first-f.Time), first
		}
	}
}

// sentence says in one line what happened.
func (x *exam) sentence(r Report) string {
	if r.Fault == nil || r.Fault.class() < 2 && r.Outcome == Well || r.Fault.What == ShortStall && r.Outcome != Failed {
		return x.nothing(r)
	}
	f := *r.Fault
	var b strings.Builder
	b.WriteString(f.Peer)
	if f.Host != "" {
		b.WriteString(" on host " + f.Host)
	}
	fmt.Fprintf(&b, " %s, at %s", f.Text, at(f.Time))
	if f.Step > 0 {
		fmt.Fprintf(&b, ", in step %d", f.Step)
	}
	if f.Phase != "" && f.What != Stuck {
		b.WriteString(" (" + f.Phase + ")")
	}
	if len(f.Also) > 0 && f.What == Diverged {
		b.WriteString("; so did " + strings.Join(f.Also, ", "))
	}
	switch {
	case f.WentOn > 0 && r.Outcome == Well:
		fmt.Fprintf(&b, "; the others went on %v later, and ended well", short(f.WentOn))
	case f.WentOn > 0:
		fmt.Fprintf(&b, "; the others went on %v later", short(f.WentOn))
	case f.class() == 3 && f.until == 0 && r.Outcome != Well && r.Outcome != GoesOn:
		b.WriteString("; nobody made a step after that")
	}
	return b.String()
}

func (x *exam) nothing(r Report) string {
	drained, done := 0, 0
	for _, p := range x.procs {
		if _, ok := p.last(blackbox.Drained); ok {
			drained++
		} else if p.left() {
			done++
		}
	}
	switch {
	case len(x.procs) == 0:
		return "nothing is left of this run"
	case r.Outcome == GoesOn:
		return fmt.Sprintf("nothing went wrong so far: the run goes on, after step %d", x.steps())
	case r.Outcome == Failed || r.Outcome == Halted:
		return fmt.Sprintf("no fault is recorded, but nobody has ended well; the last step was %d", x.steps())
	case drained > 0:
		return fmt.Sprintf("nothing went wrong: %d peers ended well after step %d, %d had been drained", done, x.steps(), drained)
	}
	return fmt.Sprintf("nothing went wrong: %d peers ended well after step %d", done, x.steps())
}
