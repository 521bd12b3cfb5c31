package allreduce

import (
	"runtime"
	"time"
)

// A spin is the waiting of somebody who looks again and again: for a while
// without a pause, because what is on its way arrives within microseconds; then
// offering the processor to others, because the peer that is waited for may need
// it; and then no more.
type spin struct {
	looks  int
	since  time.Time
	crowd  int // so many waits to come offer the processor at once
	offers int
	slow   int // so many waits to come are not worth looking at all
}

const (
	// stubborn is for how long the processor is kept.
	stubborn = 20 * time.Microsecond
	// spinTime is for how long sleeping would cost more.
	spinTime = 400 * time.Microsecond
	// away is how long an offer takes if somebody takes it.
	away = 5 * time.Microsecond
	// crowded is how many waits do not keep the processor after that.
	crowded = 64
	// goroutineOffers is how often other processes are let run for each time that
	// our own goroutines are: they have other processors, and to let them run may
	// wake a thread to look for some.
	goroutineOffers = 32
	// slowBytes is how many bytes a link that is not slow brings in a microsecond.
	slowBytes = 256
	// slowWaits is how many waits sleep at once before the link is looked at again.
	slowWaits = 16
	// longBytes is where a body begins to be long.
	longBytes = 16 << 10
	// looksPerTime is how often one looks between two looks at the clock.
	looksPerTime = 4
)

// reset begins a new wait.
func (s *spin) reset() { s.looks = 0 }

// arrived is reset when n bytes of a long body have arrived. Where that is little
// for the time that it took, a slow link carries them, and looking for every
// packet would keep a processor busy for as long as the body takes.
func (s *spin) arrived(n int) {
	if s.looks > 0 && n < longBytes && n < slowBytes*int(time.Since(s.since)/time.Microsecond) {
		s.slow = slowWaits
	}
	s.reset()
}

// again returns true if the caller should look again.
func (s *spin) again() bool {
	s.looks++
	if s.looks == 1 {
		s.since = time.Now()
		if s.crowd == 0 {
			return true
		}
		s.crowd--
		s.looks += crowded
	}
	if s.slow > 0 && s.looks == 2 {
		s.slow--
		return false
	}
	if s.looks%looksPerTime != 0 && s.looks < crowded {
		return true
	}
	switch waited := time.Since(s.since); {
	case waited < stubborn && s.looks < crowded:
		return true
	case waited < spinTime:
		s.offer()
		return true
	}
	return false
}

// offer lets our own goroutines and other processes run.
func (s *spin) offer() {
	if s.offers++; s.offers%goroutineOffers == 0 {
		runtime.Gosched()
	}
	begin := time.Now()
	yield()
	if time.Since(begin) > away {
		s.crowd = crowded
	}
}
