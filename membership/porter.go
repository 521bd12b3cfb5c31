package membership

import (
	"context"
	"maps"
	"time"
)

const (
	// vouchTime is how long the answer of a newcomer holds; it asks more often.
	vouchTime = time.Second
	// vouchPatience bounds the question, two round trips.
	vouchPatience = 1500 * time.Millisecond
	// maxVouches is how many newcomers are asked at a time.
	maxVouches = 64
)

// A porter asks back at the address of whoever wants in, before the agreement
// hears of it. What comes in a packet is authentic, but may be old: somebody who
// has recorded it can send it again when its sender is long dead, and the members
// would take in nobody. A handshake cannot be recorded.
type porter struct {
	node    *Node
	ctx     context.Context
	busy    ids
	vouched map[string]vouch // by ID
	found   chan caller
}

// A vouch says when a newcomer has answered last. It ends with the view: the
// newcomer may have been let in by the next one, and died.
type vouch struct {
	epoch uint64
	at    time.Time
}

func (v vouch) holds(epoch uint64) bool { return v.epoch == epoch && time.Since(v.at) < vouchTime }

// A caller is a newcomer's message, and what became of the question.
type caller struct {
	m     message
	lives bool
}

// take takes up a request to join. It is called by the node's goroutine, as is saw.
func (p *porter) take(a *agreement, m message) {
	if a.view.Epoch == 0 || a.view.has(m.From) || p.vouched[m.From].holds(a.view.Epoch) {
		a.step(m)
		return
	}
	if p.busy[m.From] || len(p.busy) == maxVouches {
		return // it asks again
	}
	p.busy[m.From] = true
	p.node.running.Add(1)
	go func() {
		defer p.node.running.Done()
		ctx, cancel := context.WithTimeout(p.ctx, vouchPatience)
		defer cancel()
		v := p.node.gossip.probe(ctx, m.From, m.Newcomers[0].Addr)
		select {
		case p.found <- caller{m, v == alive}:
		case <-p.ctx.Done():
		}
	}()
}

// saw takes up an answer.
func (p *porter) saw(a *agreement, c caller) {
	delete(p.busy, c.m.From)
	maps.DeleteFunc(p.vouched, func(_ string, v vouch) bool { return !v.holds(a.view.Epoch) })
	if c.lives {
		p.vouched[c.m.From] = vouch{a.view.Epoch, time.Now()}
		a.step(c.m)
	}
}
