package elastic

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"
)

// A note is what each peer tells all others when a step has ended. It is gathered
// while the next step is computed and reduced, so nobody waits for it, except
// those who are ready to change to another view: they have to know whether all
// are.
//
//	+-------+-------+------+-------+---------+------------+-------+------+-------+--------+
//	| flags | ready | pace | steps | reduced | state step | state | pass | cause | amount |
//	+-------+-------+------+-------+---------+------------+-------+------+-------+--------+
//	  1       8       4      8       8         8            8       4      1       4        bytes, little-endian
type note struct {
	Out       bool          // the next view is without this peer
	Leaving   bool          // it was asked to leave
	Knows     bool          // of a later view with this peer
	Ready     uint64        // epoch of the next view, whose ring stands here; 0: none
	Pace      time.Duration // what a step takes here, in whole µs
	Steps     uint64        // committed
	Reduced   uint64        // hash of what was reduced since the note before
	StateStep uint64        // after this step…
	State     uint64        // …the state had this hash; both 0: not looked at
	Pass      time.Duration // what a pass of this peer typically computes, in whole µs; 0: unknown
	Why       reason        // what may slow it down
}

const (
	noteBytes = 1 + 8 + 4 + 8 + 8 + 8 + 8 + 4 + 1 + 4

	noteOut     = 1
	noteLeaving = 2
	noteKnows   = 4
)

func (n note) encode() []byte {
	b := make([]byte, 1, noteBytes)
	if n.Out {
		b[0] |= noteOut
	}
	if n.Leaving {
		b[0] |= noteLeaving
	}
	if n.Knows {
		b[0] |= noteKnows
	}
	b = binary.LittleEndian.AppendUint64(b, n.Ready)
	b = binary.LittleEndian.AppendUint32(b, wholeMicros(n.Pace))
	for _, x := range []uint64{n.Steps, n.Reduced, n.StateStep, n.State} {
		b = binary.LittleEndian.AppendUint64(b, x)
	}
	b = append(binary.LittleEndian.AppendUint32(b, wholeMicros(n.Pass)), byte(n.Why.cause))
	return binary.LittleEndian.AppendUint32(b, n.Why.amount)
}

func wholeMicros(d time.Duration) uint32 { return uint32(min(d.Microseconds(), 1<<32-1)) }

func parseNote(b []byte) (note, error) {
	if len(b) != noteBytes || b[0] > noteOut|noteLeaving|noteKnows {
		return note{}, fmt.Errorf("elastic: a note of %d bytes, %x", len(b), b[:min(len(b), 1)])
	}
	word := func(at int) uint64 { return binary.LittleEndian.Uint64(b[at:]) }
	micros := func(at int) time.Duration {
		return time.Duration(binary.LittleEndian.Uint32(b[at:])) * time.Microsecond
	}
	return note{
		Out:       b[0]&noteOut != 0,
		Leaving:   b[0]&noteLeaving != 0,
		Knows:     b[0]&noteKnows != 0,
		Ready:     word(1),
		Pace:      micros(9),
		Steps:     word(13),
		Reduced:   word(21),
		StateStep: word(29),
		State:     word(37),
		Pass:      micros(45),
		Why:       reason{cause(b[49]), binary.LittleEndian.Uint32(b[50:])},
	}, nil
}

// waits reports whether its sender has to know at once what the others say.
func (n note) waits() bool { return n.Out || n.Leaving || n.Ready > 0 }

// notes are those of all peers of a generation after the same step, by rank. So
// what follows from them is the same on all peers.
type notes []note

func parseNotes(blobs [][]byte) (notes, error) {
	all := make(notes, len(blobs))
	for r, b := range blobs {
		var err error
		if all[r], err = parseNote(b); err != nil {
			return nil, fmt.Errorf("%w from rank %d", err, r)
		}
	}
	return all, nil
}

// move reports whether the generation ends here: all who stay have the ring of
// the same next view.
func (all notes) move() bool {
	var next uint64
	for _, n := range all {
		switch {
		case n.Out:
		case n.Ready == 0 || next > 0 && n.Ready != next:
			return false
		default:
			next = n.Ready
		}
	}
	return next > 0
}

// allLeave reports whether nobody stays.
func (all notes) allLeave() bool {
	for _, n := range all {
		if !n.Leaving && !n.Out {
			return false
		}
	}
	return true
}

// goesOn reports whether somebody knows of a later view.
func (all notes) goesOn() bool {
	return slices.ContainsFunc(all, func(n note) bool { return n.Knows || n.Out })
}

// differ reports whether the peers hold different bits.
func (all notes) differ() bool {
	for _, n := range all {
		if a := all[0]; n.Steps != a.Steps || n.Reduced != a.Reduced || n.StateStep != a.StateStep || n.State != a.State {
			return true
		}
	}
	return false
}

// How often notes are worth their price: about every noteTime, at least every
// maxGap steps, at most every step.
const (
	noteTime = 5 * time.Millisecond
	maxGap   = 16
)

// gap returns after how many steps the next notes follow.
func (all notes) gap() int {
	pace := time.Duration(0)
	for _, n := range all {
		pace = max(pace, n.Pace)
	}
	if pace == 0 {
		return 1
	}
	return int(min(max((noteTime+pace-1)/pace, 1), maxGap))
}
