package autopsy

import (
	"fmt"
	"slices"
	"time"
)

// A What is the kind of a Fault.
type What string

const (
	Killed     What = "killed"     // by a signal
	OOM        What = "oom"        // by the kernel, for want of memory
	Crashed    What = "crashed"    // a panic, or a fatal error of the run-time system
	Exited     What = "exited"     // with a status, and without a word to the group
	Vanished   What = "vanished"   // it is gone, and nobody saw how
	HostGone   What = "host gone"  // with its host, or out of reach
	Frozen     What = "frozen"     // it did not run for a while
	Cut        What = "cut off"    // it ran, but others could not be reached
	Diverged   What = "diverged"   // it held other bits than the others
	Stuck      What = "stuck"      // it kept the others waiting, and did something else
	DiskFull   What = "disk full"  // a checkpoint could not be written for want of room
	NoCheck    What = "checkpoint" // …for another reason
	Partition  What = "partition"  // too few could reach each other to go on
	Error      What = "error"      // it ended with an error
	Ended      What = "ended"      // its launcher ended it
	ShortStall What = "slow"       // it kept the others waiting for a while
)

// A Fault is something that went wrong.
type Fault struct {
	What   What          `json:"what"`
	Peer   string        `json:"peer"`
	Host   string        `json:"host,omitempty"`
	Time   int64         `json:"time"`
	Text   string        `json:"text"`            // what happened to the peer, or what it did
	Step   uint64        `json:"step,omitempty"`  // in which it was
	Phase  string        `json:"phase,omitempty"` // and what it did there
	WentOn time.Duration `json:"went_on"`         // until the others made a step; 0: they did not
	Also   []string      `json:"also,omitempty"`  // peers to which the same happened

	fatal bool  // the process ended by it
	minor bool  // it follows from another, or does no harm
	until int64 // when it was over; 0: never
}

// class is how much a fault explains: others follow from those of class 3.
func (f Fault) class() int {
	switch {
	case f.minor || f.What == Ended || f.What == ShortStall:
		return 1
	case f.What == Error || f.What == Partition || f.What == DiskFull || f.What == NoCheck:
		return 2
	}
	return 3
}

// soon is how far two faults are apart of which the first leads to the second.
const soon = int64(2 * time.Second)

// choose returns the fault that explains best how things are: of those that
// explain most the last, or the one that it came from. A fault that was never over
// leads to all that follow. It returns nil if nothing went wrong.
func choose(faults []Fault) *Fault {
	most := 0
	for _, f := range faults {
		most = max(most, f.class())
	}
	faults = slices.DeleteFunc(slices.Clone(faults), func(f Fault) bool { return f.class() < most })
	if len(faults) == 0 {
		return nil
	}
	i := len(faults) - 1
	for i > 0 && (faults[i-1].until == 0 || faults[i].Time-faults[i-1].until < soon) {
		i--
	}
	return &faults[i]
}

// add notes a fault of a process, and what that did.
func (x *exam) add(p *proc, f Fault) {
	f.Peer, f.Host = p.name, p.host
	f.Text = x.called(f.Text)
	x.faults = append(x.faults, f)
}

// doing fills in what a process did when its gauge was read last.
func (p *proc) doing(f Fault) Fault {
	g := p.box.Gauge
	if g.Turn == 0 || g.Phase == "" || p.left() {
		return f
	}
	f.Step, f.Phase = g.Step+1, g.Phase
	switch {
	case g.Bucket > 0 && g.Bucket <= g.Buckets:
		f.Phase += fmt.Sprintf(", bucket %d of %d", g.Bucket, g.Buckets)
	case g.Bucket > 0:
		f.Phase += fmt.Sprintf(", bucket %d", g.Bucket)
	}
	return f
}
