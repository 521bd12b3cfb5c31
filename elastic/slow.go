package elastic

import (
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"
)

// A peer is slow when its passes take slowFactor times those of the typical other
// peer, for slowTime and slowLooks exchanges of notes; and is no longer slow when
// they have taken less than fineFactor times, for as long.
const (
	slowFactor = 1.3
	fineFactor = 1.15
	slowTime   = 2 * time.Second
	slowLooks  = 5
	slowPass   = 100 * time.Microsecond // shorter passes are not compared
)

// A Slow is a peer that computes slower than the others.
type Slow struct {
	ID     string  `json:"id"`
	Factor float64 `json:"factor"` // of what the typical other peer takes
	Cause  string  `json:"cause"`
}

func (s Slow) String() string {
	return fmt.Sprintf("%s computes %.1f times as long as the others (%s)", s.ID, s.Factor, s.Cause)
}

// A pacer compares how long passes take on all peers. It has no clock.
type pacer struct {
	peers map[string]*pace
}

// A pace is what is known of one peer.
type pace struct {
	slow  bool
	since time.Time // its passes have been on the other side of the line; zero: they are not
	looks int
}

// look takes what a pass takes on each peer, 0 if it is not known, and returns the
// factors of all, and those of whom the judgement has changed.
func (p *pacer) look(now time.Time, ids []string, passes []time.Duration) (factors []float64, changed []int) {
	old := p.peers
	p.peers = make(map[string]*pace, len(ids))
	factors = make([]float64, len(ids))
	for i, id := range ids {
		q := old[id]
		if q == nil {
			q = &pace{}
		}
		p.peers[id] = q
		others := typical(passes, i)
		if others < slowPass || passes[i] == 0 {
			continue
		}
		factors[i] = float64(passes[i]) / float64(others)
		if q.turns(now, factors[i]) {
			changed = append(changed, i)
		}
	}
	return factors, changed
}

// turns reports whether the judgement changes.
func (q *pace) turns(now time.Time, factor float64) bool {
	if q.slow && factor >= fineFactor || !q.slow && factor <= slowFactor {
		q.since, q.looks = time.Time{}, 0
		return false
	}
	if q.since.IsZero() {
		q.since = now
	}
	if q.looks++; q.looks < slowLooks || now.Sub(q.since) < slowTime {
		return false
	}
	*q = pace{slow: !q.slow}
	return true
}

// typical is the median of the others; 0: unknown.
func typical(passes []time.Duration, but int) time.Duration {
	var others []time.Duration
	for i, d := range passes {
		if i != but && d > 0 {
			others = append(others, d)
		}
	}
	if len(others) == 0 {
		return 0
	}
	slices.Sort(others)
	return others[(len(others)-1)/2]
}

// compareSpeed looks at what the notes say of the speed of each peer, and tells of
// those that have become slow, or have recovered.
func (g *Group) compareSpeed(gen *generation, all notes) {
	passes := make([]time.Duration, len(all))
	for r, n := range all {
		passes[r] = n.Pass
	}
	peers := ids(gen.view)
	factors, changed := g.pacer.look(time.Now(), peers, passes)
	var slow []Slow
	for r, id := range peers {
		if g.pacer.peers[id].slow && factors[r] > 1 { // else it is about to be called slow no longer
			slow = append(slow, Slow{id, factors[r], all[r].Why.String()})
		}
	}
	g.mu.Lock()
	g.slow = slow
	g.mu.Unlock()
	for _, r := range changed {
		g.saySlow(gen, Slow{peers[r], factors[r], all[r].Why.String()}, g.pacer.peers[peers[r]].slow)
	}
}

// saySlow is said by the peer itself, and by the first of the others.
func (g *Group) saySlow(gen *generation, s Slow, slow bool) {
	what, event := "a peer is slow", "slow"
	if !slow {
		what, event, s.Cause = "a peer is no longer slow", "recovered", ""
	}
	g.report.slow(event, g.id(), g.steps, s)
	if gen.rank == 0 || s.ID == g.id() {
		fields := []zap.Field{zap.String("slow", s.ID), zap.Float64("factor", float64(int(s.Factor*100))/100)}
		if slow {
			fields = append(fields, zap.String("cause", s.Cause))
		}
		g.cfg.Logger.Warn(what, fields...)
	}
}

// slowPeers returns those that are slow now.
func (g *Group) slowPeers() []Slow {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.slow
}
