package main

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A site is a host while the job uses it. Its agent may be lost, and started
// again; the host may be taken from the list, and its workers leave.
type site struct {
	host    host
	conn    *conn // nil: there is no agent now
	dialing bool
	wear    wear // of its agents, and of attempts to start one
	slots   []*slot
	gone    bool   // no longer listed
	trouble string // why it is not reached, as it was told
	metrics string // where those of its first worker are, as it was told
}

// An arrival is the end of an attempt to start an agent.
type arrival struct {
	site *site
	conn *conn
	err  error
}

// open makes the sites of the hosts that the job begins with, and their slots in
// the order of the workers.
func (j *job) open() []*slot {
	for i, h := range j.opts.hosts {
		j.sites = append(j.sites, &site{host: h, conn: j.conns[i]})
	}
	all := make([]*slot, len(j.opts.place))
	for i, h := range j.opts.place {
		all[i] = j.sites[h].add()
		all[i].local = j.localRank(i)
	}
	for _, h := range j.opts.found { // slots that no worker has yet
		j.resize(h)
	}
	return all
}

func (s *site) add() *slot {
	sl := &slot{site: s, local: len(s.slots)}
	s.slots = append(s.slots, sl)
	return sl
}

// find returns the site of a host that is still listed.
func (j *job) find(name string) *site {
	for _, s := range j.sites {
		if s.host.name == name && !s.gone {
			return s
		}
	}
	return nil
}

// resize gives a host the slots that it is listed with, and returns those that it
// has no more.
func (j *job) resize(h host) (lost []*slot) {
	s := j.find(h.name)
	if s == nil {
		s = &site{host: h}
		j.sites = append(j.sites, s)
	}
	s.host.slots = h.slots
	for len(s.slots) < h.slots {
		s.add().local = j.freeNumber(s)
	}
	lost = s.slots[h.slots:]
	s.slots = s.slots[:h.slots]
	return lost
}

// freeNumber returns the smallest local number that no slot of a host has, nor a
// worker there whose slot was taken away and that has not ended yet.
func (j *job) freeNumber(s *site) int {
	used := map[int]bool{}
	for _, sl := range s.slots[:len(s.slots)-1] {
		used[sl.local] = true
	}
	for _, p := range j.peers {
		if p.slot.site == s && p.state == running {
			used[p.slot.local] = true
		}
	}
	n := 0
	for used[n] {
		n++
	}
	return n
}

// listed takes a new list of hosts: who is new is filled with workers, and those
// of hosts and slots that are gone leave.
func (j *job) listed(hosts []host) {
	if j.halting || j.over {
		return
	}
	for _, s := range j.sites {
		if !s.gone && !slices.ContainsFunc(hosts, func(h host) bool { return h.name == s.host.name }) {
			s.gone = true
			j.empty(s.slots, "host "+s.host.name+" is no longer listed")
			j.dismiss(s)
		}
	}
	for _, h := range hosts {
		if j.find(h.name) == nil {
			j.out.note("host %s is listed, with %s", h.name, count(h.slots, "slot"))
		}
		j.empty(j.resize(h), "host "+h.name+" has fewer slots")
	}
	j.fill()
}

// empty lets the workers of some slots leave between two steps, and kills those
// that have not within the grace.
func (j *job) empty(from []*slot, why string) {
	var leave []int
	var names []string
	for i, p := range j.peers {
		switch {
		case !slices.Contains(from, p.slot):
		case p.state == due || p.state == waiting:
			p.state = dropped
		case p.state == running:
			p.asked, p.leaving = true, true
			leave = append(leave, i)
			names = append(names, strconv.Itoa(i))
		}
	}
	if len(leave) == 0 {
		return
	}
	j.out.note("%s: worker %s is to leave", why, strings.Join(names, ", "))
	c := j.peers[leave[0]].conn
	c.send(request{Signal: syscall.SIGTERM, Only: leave})
	j.agenda.after(j.opts.grace, func() {
		if slices.ContainsFunc(leave, func(i int) bool { return j.peers[i].state == running }) {
			c.send(request{Signal: syscall.SIGKILL, Only: leave})
		}
	})
}

// dismiss ends the agent of a host that is gone, when its last worker has ended.
func (j *job) dismiss(s *site) {
	if !s.gone || s.conn == nil || slices.ContainsFunc(j.peers, func(p *peer) bool { return p.conn == s.conn && p.state == running }) {
		return
	}
	c := s.conn
	s.conn = nil
	j.conns = slices.DeleteFunc(j.conns, func(other *conn) bool { return other == c })
	j.dialers.Go(c.close)
}

// active counts the workers that run, or are to be started.
func (j *job) active() int {
	n := 0
	for _, p := range j.peers {
		if p.state == running || p.state == waiting || p.state == due {
			n++
		}
	}
	return n
}

// room returns how many more workers there may be.
func (j *job) room() int {
	most := j.opts.n
	if j.opts.hostsFrom != "" {
		if most = j.opts.maxN; most == 0 {
			most = maxNodes
		}
	}
	return most - j.active()
}

// fill starts workers in empty slots, as many as there may be, and agents where
// there are slots and none.
func (j *job) fill() {
	if !j.founded || j.halting || j.over || j.gone {
		return
	}
	room := j.room()
	for _, s := range j.sites {
		switch {
		case s.gone || room <= 0:
		case s.conn == nil && s.vacant() > 0:
			room -= s.vacant()
			if !s.dialing {
				s.dialing = true
				j.dial(s)
			}
		case s.conn != nil:
			room -= j.occupy(s, room)
		}
	}
}

func (s *site) vacant() int {
	n := 0
	for _, sl := range s.slots {
		if !sl.taken {
			n++
		}
	}
	return n
}

// occupy starts workers in slots of a host that never had one, or lost it with
// the agent.
func (j *job) occupy(s *site, room int) (n int) {
	doors := j.doors()
	for _, sl := range s.slots {
		if !sl.taken && n < room && len(doors) > 0 {
			for _, p := range j.peers { // of an agent before
				if p.slot == sl && p.state == killed {
					p.state = replaced
				}
			}
			i := j.add(sl)
			j.peers[i].heir = true
			j.startAt(i, doors)
			n++
		}
	}
	return n
}

// dial starts an agent in the background.
func (j *job) dial(s *site) {
	h := s.host
	j.dialers.Go(func() {
		c, err := j.reach(j.life, h)
		select {
		case j.arrivals <- arrival{s, c, err}:
		case <-j.quit:
			if c != nil {
				c.close()
			}
		}
	})
}

// arrived takes up a new agent, or tries again later. No host is given up for ever.
func (j *job) arrived(a arrival) {
	s := a.site
	s.dialing = false
	if a.err != nil {
		s.wear.add(time.Now())
		wait := randomPause(s.wear.count(time.Now()))
		if text := a.err.Error(); !s.gone && !j.halting && text != s.trouble {
			s.trouble = text
			j.out.note("%s; tried again in %v, and as long as it is listed", text, round(wait))
		}
		j.again(s, wait)
		return
	}
	j.conns = append(j.conns, a.conn)
	s.conn, s.trouble = a.conn, ""
	j.listen(a.conn)
	if s.gone || j.halting {
		s.gone = true
		j.dismiss(s)
		return
	}
	j.fill()
}

// again fills after a while; until then no agent is started there.
func (j *job) again(s *site, wait time.Duration) {
	s.dialing = true
	j.agenda.after(wait, func() {
		s.dialing = false
		j.fill()
	})
}

// vacate takes up that an agent is lost, whose slots are empty now.
func (j *job) vacate(c *conn) {
	j.conns = slices.DeleteFunc(j.conns, func(other *conn) bool { return other == c })
	j.dialers.Go(c.close)
	for _, s := range j.sites {
		if s.conn != c {
			continue
		}
		s.conn = nil
		if j.opts.restart == 0 || s.gone || j.halting || j.over || !j.founded || s.vacant() == 0 {
			return
		}
		s.wear.add(time.Now())
		wait := randomPause(s.wear.count(time.Now()))
		j.out.note("host %s: its agent is started again in %v", s.host.name, round(wait))
		j.again(s, wait)
	}
}

// watch asks for the hosts there are, until the job ends.
func (j *job) watch(ctx context.Context, f *finder) {
	last := j.opts.found
	for {
		hosts, err := f.next(ctx, last)
		if err != nil {
			return
		}
		last = hosts
		select {
		case j.lists <- hosts:
		case <-j.quit:
			return
		}
	}
}
