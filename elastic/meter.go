package elastic

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/ringrun/ringrun/allreduce"
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
	trace *tracer

	mu    sync.Mutex
	now   Phase
	since time.Time
	spent map[Phase]time.Duration
	steps uint64
	last  time.Time // when the last step was committed
	pace  float64   // seconds a step, of the last few

	box      *recorder
	computed time.Duration   // spent[Computing] when the last step was committed
	passes   []time.Duration // what a pass has taken in the last steps, newest last
	reduced  time.Duration   // spent[Reducing] when the last step was committed
	usual    float64         // seconds a step of that
	counted  counted
}

func newMeter() *meter {
	return &meter{now: Waiting, since: time.Now(), spent: map[Phase]time.Duration{}, trace: newTracer()}
}

// enter changes the phase and returns the one before.
func (m *meter) enter(p Phase) Phase {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	was := m.now
	m.spent[was] += now.Sub(m.since)
	m.trace.tell(Span{Track: Phases, Name: string(was), Step: m.steps}, m.since, now)
	m.now, m.since = p, now
	m.box.pulse(m.doingNow(), now)
	return was
}

// alive is a sign of life for the black box.
func (m *meter) alive() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.box.pulse(m.doingNow(), m.since)
}

// inside notes what was done within a phase, since a time.
func (m *meter) inside(name string, began time.Time) {
	if m.trace.on.Load() {
		m.trace.tell(Span{Track: Inside, Name: name, Step: m.step()}, began, time.Now())
	}
}

// paceWeight is how much the newest step counts in the pace, and passesKept of how
// many the typical pass is taken.
const (
	paceWeight = 0.2
	passesKept = 8
)

// committed notes the end of a step with so many passes of this peer.
func (m *meter) committed(steps uint64, passes float64) {
	m.enter(Computing)
	m.trace.step(true)
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.last.IsZero() && steps == m.steps+1 {
		took := m.since.Sub(m.last).Seconds()
		if m.pace == 0 {
			m.pace = took
		}
		m.pace += paceWeight * (took - m.pace)
		m.usual += paceWeight * ((m.spent[Reducing] - m.reduced).Seconds() - m.usual)
		if passes > 0 {
			if len(m.passes) == passesKept {
				m.passes = append(m.passes[:0], m.passes[1:]...)
			}
			m.passes = append(m.passes, time.Duration(float64(m.spent[Computing]-m.computed)/passes))
		}
	}
	m.computed, m.reduced = m.spent[Computing], m.spent[Reducing]
	m.steps, m.last = steps, m.since
}

// pass returns how long a pass of this peer typically computes; 0: unknown.
func (m *meter) pass() time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.passes) < passesKept {
		return 0
	}
	var sorted [passesKept]time.Duration
	copy(sorted[:], m.passes)
	slices.Sort(sorted[:])
	return sorted[passesKept/2]
}

func (m *meter) step() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.steps
}

// at says that so many steps have been committed, by others or in an earlier run:
// their state was loaded.
func (m *meter) at(steps uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.steps, m.last = steps, time.Time{}
}

// stepTime returns how long the last few steps took, 0 if there were none.
func (m *meter) stepTime() time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	return time.Duration(m.pace * float64(time.Second))
}

// await waits for a work, and says so if it has to.
func (m *meter) await(ctx context.Context, w *allreduce.Work) error {
	select {
	case <-w.Done():
	default:
		defer m.enter(m.enter(Waiting))
	}
	return w.Wait(ctx)
}

// count passes on how much has travelled with the last step.
func (m *meter) count(epoch uint64, now allreduce.Stats) {
	if !m.trace.on.Load() {
		return
	}
	m.mu.Lock()
	was, step, at := m.counted, m.steps, m.last
	if was.epoch != epoch {
		was.Stats = allreduce.Stats{}
	}
	m.counted = counted{now, epoch}
	m.mu.Unlock()
	m.trace.tell(Span{Track: Counts, Name: "bytes", Step: step, Epoch: epoch, Sent: now.Sent - was.Sent, Received: now.Received - was.Received}, at, at)
}

// counted is what had travelled in an epoch after a step.
type counted struct {
	allreduce.Stats
	epoch uint64
}

// doing is what a heartbeat tells.
func (m *meter) doing() doing {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.doingNow()
}

// doingNow is called with m.mu held.
func (m *meter) doingNow() doing {
	return doing{m.now, m.steps, int(m.trace.begun.Load()), int(m.trace.buckets.Load())}
}

// A reading is what a meter says at one moment.
type reading struct {
	doing
	since time.Time
	spent map[Phase]time.Duration // in all, until now
	steps uint64
	pace  float64
	usual float64
}

func (m *meter) read() reading {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	r := reading{
		doing: m.doingNow(),
		since: m.since, spent: map[Phase]time.Duration{}, steps: m.steps, pace: m.pace, usual: m.usual,
	}
	for p, d := range m.spent {
		r.spent[p] = d
	}
	r.spent[m.now] += now.Sub(m.since)
	return r
}
