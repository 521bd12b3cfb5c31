package elastic

import (
	"sync"
	"time"
)

// A Phase is what a peer does at the moment.
type Phase string

const (
	Computing Phase = "computing" // the loop has the word: forward and backward passes
	Waiting   Phase = "waiting"   // for the group to agree, or for state
	Reducing  Phase = "reducing"  // gradients travel
	Applying  Phase = "applying"  // the solver changes the parameters
)

// A meter knows in which phase a peer is and how long it has spent in each. Any
// goroutine may read it.
type meter struct {
	mu    sync.Mutex
	now   Phase
	since time.Time
	spent map[Phase]time.Duration
	steps uint64
	last  time.Time // when the last step was committed
	pace  float64   // seconds a step, of the last few

	watchers []*watcher
	box      *recorder
}

func newMeter() *meter {
	return &meter{now: Waiting, since: time.Now(), spent: map[Phase]time.Duration{}}
}

// enter changes the phase and returns the one before.
func (m *meter) enter(p Phase) Phase {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	was := m.now
	m.spent[was] += now.Sub(m.since)
	m.tell(was, m.since, now)
	m.now, m.since = p, now
	m.box.pulse(p, now, m.steps)
	return was
}

// alive is a sign of life for the black box.
func (m *meter) alive() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.box.pulse(m.now, m.since, m.steps)
}

// paceWeight is how much the newest step counts in the pace.
const paceWeight = 0.2

// committed notes the end of a step.
func (m *meter) committed(steps uint64) {
	m.enter(Computing)
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.last.IsZero() && steps == m.steps+1 {
		took := m.since.Sub(m.last).Seconds()
		if m.pace == 0 {
			m.pace = took
		}
		m.pace += paceWeight * (took - m.pace)
	}
	m.steps, m.last = steps, m.since
}

// stepTime returns how long the last few steps took, 0 if there were none.
func (m *meter) stepTime() time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	return time.Duration(m.pace * float64(time.Second))
}

// A reading is what a meter says at one moment.
type reading struct {
	phase Phase
	since time.Time
	spent map[Phase]time.Duration // in all, until now
	steps uint64
	pace  float64
}

func (m *meter) read() reading {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	r := reading{phase: m.now, since: m.since, spent: map[Phase]time.Duration{}, steps: m.steps, pace: m.pace}
	for p, d := range m.spent {
		r.spent[p] = d
	}
	r.spent[m.now] += now.Sub(m.since)
	return r
}
