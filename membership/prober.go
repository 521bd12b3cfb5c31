package membership

import (
	"context"
	"time"
)

// A prober that has lost the connection to a peer waits so long before it tries
// again, twice as long each time: a process that dies closes its connections one
// by one, so the port may seem open for another moment.
const (
	firstHoldPause = 10 * time.Millisecond
	lastHoldPause  = time.Second
)

// A death is what a probe found.
type death struct {
	id   string
	dead bool
}

// A prober probes each suspect in a goroutine of its own, one probe at a time.
type prober struct {
	node  *Node
	ctx   context.Context
	busy  ids
	found chan death
	letGo context.CancelFunc // ends hold
}

func (p *prober) probe(suspects []Peer) {
	for _, s := range suspects {
		if p.busy[s.ID] {
			continue
		}
		p.busy[s.ID] = true
		p.node.running.Add(1)
		go func() {
			defer p.node.running.Done()
			ctx, cancel := context.WithTimeout(p.ctx, probeTimeout)
			defer cancel()
			v := p.node.gossip.probe(ctx, s.ID, s.Addr)
			select {
			case p.found <- death{s.ID, v == dead}:
			case <-p.ctx.Done():
			}
		}()
	}
}

// hold holds on to the next peer of the view, whatever links there are between
// the two, and probes it when it lets go: a process that is killed lets go at
// once. The peers of a view thus watch each other in a ring.
func (p *prober) hold(v View) {
	if p.letGo != nil {
		p.letGo()
		p.letGo = nil
	}
	all := v.members()
	if len(all) < 2 {
		return
	}
	next := all[(v.seat(p.node.cfg.ID)+1)%len(all)]
	ctx, cancel := context.WithCancel(p.ctx)
	p.letGo = cancel
	p.node.running.Add(1)
	go func() {
		defer p.node.running.Done()
		for pause := firstHoldPause; ; pause = min(2*pause, lastHoldPause) {
			if p.node.gossip.hold(ctx, next.ID, next.Addr) {
				pause = firstHoldPause
			}
			probe, cancel := context.WithTimeout(ctx, probeTimeout)
			v := p.node.gossip.probe(probe, next.ID, next.Addr)
			cancel()
			if v == dead {
				select {
				case p.found <- death{next.ID, true}:
				case <-ctx.Done():
				}
				return
			}
			if !sleep(ctx, pause) {
				return
			}
		}
	}()
}
