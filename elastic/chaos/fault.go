// Package chaos is a language for what may befall a group of peers, and a player
// of it. A script has one fault a line:
//
//	kill p2 at step 7               its process dies
//	stop p1 for 3s                  it does nothing for a while
//	join 1 at step 20               a newcomer starts
//	drain p0 after 500ms            it is asked to leave
//	cut {p0 p1} {p2 p3} for 5s      nothing passes between the two sides
//	slow p1 10ms for 5s             it is held up again and again
//	wait 2s                         nothing happens for so long
//
// Peers are numbered in the order of their starts, from p0 on. A line takes effect
// as soon as the one before it has, or at the step or after the time that it says;
// what lasts for a while goes on meanwhile. All after # is a comment.
//
// [Parse] reads a script, [Random] invents faults, and [Play] lets them happen on
// a [Stage]: real processes, or peers within a test.
package chaos

import (
	"fmt"
	"strings"
	"time"
)

// A Kind is what a fault does.
type Kind string

const (
	Kill  Kind = "kill"
	Stop  Kind = "stop"
	Join  Kind = "join"
	Drain Kind = "drain"
	Cut   Kind = "cut"
	Slow  Kind = "slow"
	Wait  Kind = "wait"
)

// A Fault is one line of a script.
type Fault struct {
	Kind  Kind
	Peer  int           // of kill, stop, drain and slow
	Count int           // of join
	Sides [2][]int      // of cut
	Delay time.Duration // of slow
	For   time.Duration // of stop, cut, slow and wait

	Step  uint64        // not before so many steps are committed
	After time.Duration // and so long after the fault before
	Line  int           // of the script; 0: it was invented
}

// String writes a fault as a line of a script.
func (f Fault) String() string {
	words := []string{string(f.Kind)}
	switch f.Kind {
	case Kill, Stop, Drain, Slow:
		words = append(words, name(f.Peer))
	case Join:
		words = append(words, fmt.Sprint(f.Count))
	case Cut:
		words = append(words, side(f.Sides[0]), side(f.Sides[1]))
	case Wait:
		words = append(words, f.For.String())
	}
	if f.Kind == Slow {
		words = append(words, f.Delay.String())
	}
	if f.Kind != Wait && f.For > 0 {
		words = append(words, "for", f.For.String())
	}
	if f.Step > 0 {
		words = append(words, "at", "step", fmt.Sprint(f.Step))
	}
	if f.After > 0 {
		words = append(words, "after", f.After.String())
	}
	return strings.Join(words, " ")
}

func name(p int) string { return fmt.Sprintf("p%d", p) }

func side(peers []int) string {
	names := make([]string, len(peers))
	for i, p := range peers {
		names[i] = name(p)
	}
	return "{" + strings.Join(names, " ") + "}"
}

// peers returns those that a fault names.
func (f Fault) peers() []int {
	switch f.Kind {
	case Kill, Stop, Drain, Slow:
		return []int{f.Peer}
	case Cut:
		return append(append([]int(nil), f.Sides[0]...), f.Sides[1]...)
	}
	return nil
}
