package ring

import (
	"sync"
	"time"
)

// ticksPerSpell is into how many ticks a spell is cut.
const ticksPerSpell = 5

// A spell is a time that passes only while this process runs: as the watch does,
// it counts its own ticks. A process that was stopped for long finds one of them on
// waking, and has the rest of the spell to do what it was about to do.
type spell struct {
	over chan struct{} // closed at the end, unless stop came first

	mu    sync.Mutex // guards what follows
	left  int        // ticks; 0: over or stopped
	tick  time.Duration
	timer *time.Timer
	then  func()
}

// after begins a spell. At its end then is called, if there is one, in a goroutine
// of its own.
func after(d time.Duration, then func()) *spell {
	s := &spell{over: make(chan struct{}), left: ticksPerSpell, tick: d / ticksPerSpell, then: then}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.timer = time.AfterFunc(s.tick, s.pass)
	return s
}

// pass counts a tick.
func (s *spell) pass() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.left == 0 {
		return
	}
	if s.left--; s.left > 0 {
		s.timer.Reset(s.tick)
		return
	}
	close(s.over)
	if s.then != nil {
		go s.then()
	}
}

// stop ends the spell before its time.
func (s *spell) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.timer.Stop()
	s.left = 0
}
