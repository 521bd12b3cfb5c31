package elastic

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/ringrun/ringrun/allreduce"
	"github.com/ringrun/ringrun/elastic/metrics"
	"github.com/ringrun/ringrun/membership"
)

// A tally counts what this peer sees happen, for those who watch it. It costs a
// step a lock and some additions. Any goroutine may use it.
type tally struct {
	mu             sync.Mutex // guards all below
	samples        uint64     // of all peers, in the steps committed here
	views          uint64
	joined, lost   uint64
	retries        uint64
	breaks         uint64
	checkpoints    uint64
	sent, received uint64 // in the views that are over
	last           time.Time
	lastStep       uint64
	times          [len(stepBounds) + 1]uint64
	timeSum        float64
	observed       map[string]float64
	diary          diary
	history        history
}

// stepBounds are the upper ends of the classes of step times, in seconds.
var stepBounds = [...]float64{.0005, .001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 30, 60}

func newTally() *tally {
	return &tally{observed: map[string]float64{}}
}

// committed notes the end of a step with so many samples of all peers.
func (t *tally) committed(step uint64, samples int) {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.last.IsZero() && step == t.lastStep+1 {
		took := now.Sub(t.last).Seconds()
		i, _ := slices.BinarySearch(stepBounds[:], took)
		t.times[i]++
		t.timeSum += took
	}
	t.last, t.lastStep = now, step
	t.samples += uint64(samples)
	t.history.step(now, t)
}

// viewed notes that a generation begins: after was, if there was one, without
// those who said that they leave.
func (t *tally) viewed(was *generation, v membership.View, leaving []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := Event{Kind: EventView, Epoch: v.Epoch, Peers: ids(v)}
	if was != nil {
		e.compare(ids(was.view), leaving)
		t.add(was.comm.Stats())
	}
	t.views++
	t.joined += uint64(len(e.Joined))
	t.lost += uint64(len(e.Lost))
	t.diary.add(e)
}

// add keeps what went over a ring that is closed.
func (t *tally) add(s allreduce.Stats) {
	t.sent += s.Sent
	t.received += s.Received
}

func (t *tally) saved(step uint64, file string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.checkpoints++
	t.diary.add(Event{Kind: EventCheckpoint, Step: step, Text: file})
}

// reading is what Prometheus is told.
func (g *Group) reading() metrics.Reading {
	now := g.meter.read()
	r := metrics.Reading{
		ID: g.id(), Transport: g.cfg.Transport, Codec: g.cfg.Codec, Rank: -1,
		Step: now.steps, Phases: map[string]float64{},
	}
	for p, d := range now.spent {
		r.Phases[string(p)] = d.Seconds()
	}
	gen := g.current()
	t := g.tally
	t.mu.Lock()
	defer t.mu.Unlock()
	r.Sent, r.Received = t.sent, t.received
	if gen != nil {
		s := gen.comm.Stats()
		r.Epoch, r.Rank, r.Size = gen.view.Epoch, gen.rank, len(gen.view.Peers)
		r.Sent, r.Received = r.Sent+s.Sent, r.Received+s.Received
	}
	r.Samples, r.Views, r.Joined, r.Lost = t.samples, t.views, t.joined, t.lost
	r.Retries, r.Breaks, r.Checkpoints = t.retries, t.breaks, t.checkpoints
	r.StepTimes = t.stepTimes()
	r.Observed = maps.Clone(t.observed)
	return r
}

func (t *tally) stepTimes() metrics.Histogram {
	h := metrics.Histogram{Sum: t.timeSum, Counts: make(map[float64]uint64, len(stepBounds))}
	for i, n := range t.times {
		h.Count += n
		if i < len(stepBounds) {
			h.Counts[stepBounds[i]] = h.Count
		}
	}
	return h
}
