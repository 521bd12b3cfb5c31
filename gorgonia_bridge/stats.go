package bridge

import (
	"fmt"
	"time"
)

// Stats says how well communication was hidden behind the computation, on this
// peer, since it began.
type Stats struct {
	Steps uint64 // committed

	// Gradients of tensors in those steps: started while the machine ran; seen
	// by it in time, but started afterwards, because no ring stood yet or because
	// the machine ran twice; and not seen by it, without the option VM. Those of
	// scalars travel with the averages, when the pass is over, and do not count.
	Early, Held, Late uint64
	Redone            uint64 // steps that were reduced twice: the machine ran twice

	Bytes   uint64 // of gradients that were reduced over more than one peer
	Buckets int    // in which they travel, now

	// Comm is for how long buckets were on their way, waiting for slower peers
	// included; Exposed is how much of that was after the pass, when there was
	// nothing else to do.
	Comm, Exposed time.Duration
}

// Hidden returns for how long buckets were on their way during passes.
func (s Stats) Hidden() time.Duration { return s.Comm - s.Exposed }

// String returns one line.
func (s Stats) String() string {
	share := 0.0
	if s.Comm > 0 {
		share = 100 * float64(s.Hidden()) / float64(s.Comm)
	}
	per := time.Duration(max(s.Steps, 1))
	return fmt.Sprintf("%d steps: gradients %d early, %d held, %d late, %d redone; %d buckets; a step communicates %v, %v of it exposed (%.0f%% hidden)",
		s.Steps, s.Early, s.Held, s.Late, s.Redone, s.Buckets,
		(s.Comm / per).Round(time.Microsecond), (s.Exposed / per).Round(time.Microsecond), share)
}

// Stats returns what has been counted so far.
func (b *Bridge) Stats() Stats {
	s := b.stats
	s.Buckets = len(b.buckets)
	return s
}

// flew notes when the works of a flight were on their way; from is when there
// was nothing left to do but wait.
func (s *Stats) flew(f *flight, from time.Time) {
	var until time.Time
	for i, w := range f.works {
		began, ended := f.began[i], w.Ended()
		if began.Before(until) {
			began = until
		}
		if !ended.After(began) {
			continue
		}
		s.Comm += ended.Sub(began)
		if began.Before(from) {
			began = from
		}
		s.Exposed += max(0, ended.Sub(began))
		until = ended
	}
}

// note counts the gradients of the step that ends, before what is late starts.
func (b *Bridge) note() {
	b.noted = Stats{}
	for _, s := range b.places {
		switch g := &b.grads[s.param]; {
		case g.fires == 0:
			b.noted.Late++
		case b.flight.comm == nil, b.flight.redo:
			b.noted.Held++
		case b.flight.comm.Size() == 1, g.bucket < len(b.flight.works):
			b.noted.Early++
		default:
			b.noted.Held++
		}
	}
}

// add counts a step that was committed.
func (s *Stats) add(step Stats, peers, bytes int) {
	s.Steps++
	s.Early += step.Early
	s.Held += step.Held
	s.Late += step.Late
	if peers > 1 {
		s.Bytes += uint64(bytes)
	}
}
