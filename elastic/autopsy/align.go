package autopsy

import (
	"slices"

	"github.com/ringrun/ringrun/elastic/blackbox"
)

// A bridge says by how much the clock of one host is ahead of another's, as one
// peer found it.
type bridge struct {
	from, to     string // boots
	ahead, slack int64
}

// align gives all times by one clock. Processes of one start of a kernel have one
// clock; between hosts it takes the way over the comparisons that are the most
// exact together.
func (x *exam) align() {
	if !x.anyAt(x.Boot) && len(x.Clocks) == 0 && len(x.procs) > 0 {
		x.Boot = x.procs[0].boot // this host has no part in it
	}
	ahead := distances(x.Boot, x.bridges())
	for _, p := range x.procs {
		d, ok := ahead[p.boot]
		if !ok && p.boot != "" {
			x.unaligned = append(x.unaligned, p.name)
		}
		p.shift(-d, ahead)
	}
}

func (x *exam) anyAt(boot string) bool {
	return slices.ContainsFunc(x.procs, func(p *proc) bool { return p.boot == boot })
}

func (x *exam) bridges() (all []bridge) {
	for _, c := range x.Clocks {
		all = append(all, bridge{x.Boot, c.Boot, c.Ahead, c.Slack})
	}
	for _, p := range x.procs {
		for _, e := range p.box.Events {
			to := x.byID[e.Peer]
			if e.Kind != blackbox.Clock || to == nil || to.boot == p.boot {
				continue
			}
			all = append(all, bridge{p.boot, to.boot, e.Value, e.Slack}, bridge{to.boot, p.boot, -e.Value, e.Slack})
		}
	}
	return all
}

// distances returns by how much each clock is ahead of that of one boot: over the
// bridges with the least slack (Bellman and Ford).
func distances(from string, bridges []bridge) map[string]int64 {
	ahead, slack := map[string]int64{from: 0}, map[string]int64{from: 0}
	for changed := true; changed; {
		changed = false
		for _, b := range bridges {
			s, ok := slack[b.from]
			if !ok {
				continue
			}
			if have, ok := slack[b.to]; !ok || s+b.slack < have {
				ahead[b.to], slack[b.to] = ahead[b.from]+b.ahead, s+b.slack
				changed = true
			}
		}
	}
	return ahead
}

// shift moves all times of a process. Its end may have been seen by another host.
func (p *proc) shift(by int64, ahead map[string]int64) {
	events := slices.Clone(p.box.Events)
	for i := range events {
		events[i].Time += by
	}
	p.box.Events = events
	if p.box.Gauge.Turn > 0 {
		p.box.Gauge.Time += by
		p.box.Gauge.Since += by
	}
	if p.end != nil {
		e := *p.end
		e.Time -= ahead[e.Boot]
		e.Began -= ahead[e.Boot]
		p.end = &e
	}
}
