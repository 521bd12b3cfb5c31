package main

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// restartHold is how long the decision about a dead worker waits, in so many beats:
// when all die of the same mistake, or the run is just over, there is nobody to join.
const (
	restartHold  = 300 * time.Millisecond
	restartBeats = 6
)

// A slot is a place on a host for one worker at a time. When that dies, an heir
// takes its place: a new process, which joins the run.
type slot struct {
	site  *site
	local int  // its number on the host
	taken bool // by a worker, or one that is due, or it is left empty
	wear  wear
}

// heritable reports whether the place of a worker that has ended may go to an
// heir. Who ended well, or because somebody wanted it, leaves none; nor does one
// that never came into the group: it would fail again.
func (j *job) heritable(p *peer, s syscall.Signal) bool {
	switch {
	case j.opts.restart == 0 || j.halting || !j.founded || j.over:
		return false
	case p.state != failed && p.state != killed, p.late, p.final, p.asked:
		return false
	case slices.Contains([]syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP}, s):
		return false
	}
	return p.seen || p.heir
}

// bequeath decides, a moment later, about the place of a worker that has died.
func (j *job) bequeath(i int, how string) {
	p := j.peers[i]
	p.slot.wear.add(time.Now())
	j.mourned++
	j.agenda.afterBeats(restartBeats, restartHold/restartBeats, func() {
		j.mourned--
		if !j.halting && !j.over && !p.slot.site.gone && len(j.doors()) > 0 {
			j.replace(i, how)
		}
	})
}

// replace names an heir, or says why there is none.
func (j *job) replace(i int, how string) {
	now, p := time.Now(), j.peers[i]
	n := p.slot.wear.count(now)
	if n > j.opts.restart {
		rest := p.slot.wear.rest(now)
		j.out.note("worker %d (%s): its place on host %s has lost %d workers within %v, and stays empty for %v (-restart %d)",
			i, how, p.slot.site.host.name, n, round(now.Sub(p.slot.wear.first)), rest.Round(time.Minute), j.opts.restart)
		j.agenda.after(rest, func() {
			if j.halting || j.over || p.slot.site.gone {
				return
			}
			j.out.note("the place of worker %d on host %s is tried again, by worker %d", i, p.slot.site.host.name, len(j.peers))
			j.revive(j.inherit(p), 0)
		})
		j.fill() // there may be another place
		return
	}
	wait := randomPause(n)
	heir := j.inherit(p)
	j.out.note("worker %d (%s): starts again in %v as worker %d, %d of %d", i, how, round(wait), heir, n, j.opts.restart)
	j.revive(heir, wait)
}

// inherit adds a peer for the place of another.
func (j *job) inherit(p *peer) (heir int) {
	heir = j.add(p.slot)
	j.peers[heir].heir = true
	j.peers[heir].state = due
	p.state = replaced
	return heir
}

// add adds a peer for a slot, which is still to be started.
func (j *job) add(s *slot) int {
	i := len(j.peers)
	s.taken = true
	p := &peer{id: j.peerID(i), conn: s.site.conn, slot: s}
	j.peersMu.Lock()
	j.peers = append(j.peers, p)
	j.peersMu.Unlock()
	j.views.index[p.id] = i
	return i
}

// revive starts an heir after a while, if there is still a run to join.
func (j *job) revive(heir int, wait time.Duration) {
	j.agenda.after(wait, func() {
		h, doors := j.peers[heir], j.doors()
		switch {
		case h.state != due:
		case j.opts.maxN > 0 && len(doors) >= j.opts.maxN:
			if !h.told {
				j.out.note("worker %d waits: the run has the %d peers of -max-n", heir, j.opts.maxN)
			}
			h.told = true
			j.revive(heir, firstPause)
		case j.over || len(doors) == 0:
			h.state = dropped
		case h.slot.site.conn == nil: // it is filled when there is an agent again
			h.state, h.slot.taken = dropped, false
		default:
			j.startAt(heir, doors)
		}
	})
}

// startAt starts a worker that joins the run at one of these addresses.
func (j *job) startAt(i int, doors []string) {
	j.peers[i].conn = j.peers[i].slot.site.conn
	j.start(i, nil, hostsOf(doors), "RINGRUN_JOIN="+strings.Join(doors, ","))
}

// doors are the addresses of those who can let a newcomer in, as far as we know.
func (j *job) doors() []string {
	open := map[string]bool{}
	for _, addr := range j.addrs {
		open[addr] = true
	}
	for _, p := range j.peers {
		if p.addr == "" {
			continue
		}
		open[p.addr] = p.state == running && (p.seen || !p.heir) && !j.views.finished[p.id]
	}
	maps.DeleteFunc(open, func(_ string, is bool) bool { return !is })
	return slices.Sorted(maps.Keys(open))
}

// learn takes the addresses of a view.
func (j *job) learn(epoch uint64, addrs []string) {
	if len(addrs) > 0 && epoch >= j.addrsOf {
		j.addrs, j.addrsOf = addrs, epoch
	}
}

// reviving reports whether a worker is still to be started for a place whose last
// one has died.
func (j *job) reviving() bool {
	if j.over || j.halting || len(j.doors()) == 0 {
		return false
	}
	if slices.ContainsFunc(j.sites, func(s *site) bool { return s.dialing && s.vacant() > 0 }) {
		return true
	}
	return j.mourned > 0 || slices.ContainsFunc(j.peers, func(p *peer) bool { return p.state == due })
}

func round(d time.Duration) time.Duration {
	if d >= 10*time.Second {
		return d.Round(time.Second)
	}
	return d.Round(100 * time.Millisecond)
}

// parseRestart reads the value of -restart.
func parseRestart(s string) (int, error) {
	if s == "never" {
		return 0, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 {
		return 0, usagef("-restart %s: want a number of times, or never", s)
	}
	return n, nil
}
