package membership

import "slices"

// A proposal is one attempt to have the next view chosen.
type proposal struct {
	ballot   ballot
	promises map[string]message
	quorumAt int // tick at which enough had promised; -1 before
	view     *View
	accepts  ids
	sent     int // tick of the last sending
}

// advance proposes when it is our turn, and carries our proposal on.
func (a *agreement) advance() {
	switch {
	case a.excluded || a.view.Epoch == 0 || a.end != nil: // the run is over: no view will follow from us
		return
	case a.proposal != nil:
		if a.mayStand() && !a.proposal.ballot.last() {
			a.propose()
		}
		a.carry()
		return
	case !a.wanted() || a.allLeave():
		a.since = -1
		return
	case a.since < 0:
		a.since = a.now
	}
	if a.now-a.since >= a.turn() {
		a.propose()
		a.carry()
	}
}

// turn returns how long this rank leaves the others the first move.
func (a *agreement) turn() int {
	before := 0
	all := a.view.members()
	for _, p := range all[:a.view.seat(a.self.ID)] {
		if !a.dead[p.ID] && !a.leaving[p.ID] {
			before++
		}
	}
	if a.leaving[a.self.ID] {
		before = len(all)
	}
	wait := before * stagger
	if a.attempts > 0 || a.othersTry() {
		// More with each attempt: two who cannot hear each other would else
		// interrupt each other for ever.
		wait += patience * min(max(a.attempts, 1), mostPatient)
	}
	return wait
}

// othersTry reports whether we have promised a proposer who is not dead.
func (a *agreement) othersTry() bool {
	r := a.promised.Rank
	return a.promised != (ballot{}) && r >= 0 && !a.dead[a.view.members()[r].ID]
}

// propose begins a proposal with a ballot above all that we know of.
func (a *agreement) propose() {
	a.attempts++
	round := a.promised.Round + 1
	if a.mayStand() {
		round = max(round, lastRound)
	}
	a.proposal = &proposal{
		ballot:   ballot{round, a.view.seat(a.self.ID)},
		promises: make(map[string]message),
		quorumAt: -1,
		accepts:  ids{},
		sent:     a.now - repeat,
	}
	a.promised = a.proposal.ballot
	a.proposal.promises[a.self.ID] = a.promise(a.promised)
}

// carry does the next thing for our proposal: send again, choose, or decide.
func (a *agreement) carry() {
	p := a.proposal
	if p == nil {
		return
	}
	if p.view == nil {
		a.choose(p)
	}
	if p.view != nil && a.enough(p.ballot, p.accepts) {
		a.adopt(*p.view, p.ballot)
		a.resend = rebroadcast
		a.announce()
		return
	}
	if a.now-p.sent < repeat {
		return
	}
	p.sent = a.now
	for _, m := range a.view.members() {
		switch {
		case m.ID == a.self.ID || a.dead[m.ID]:
		case p.view == nil:
			a.send(m, message{Kind: kindPrepare, Epoch: a.view.Epoch + 1, Ballot: p.ballot})
		default:
			a.send(m, message{Kind: kindAccept, Epoch: a.view.Epoch + 1, Ballot: p.ballot, View: p.view})
		}
	}
}

// choose settles what the proposal proposes, once a quorum has promised and
// everybody else has answered, is dead, or had time enough.
func (a *agreement) choose(p *proposal) {
	have := ids{}
	for id := range p.promises {
		have[id] = true
	}
	if !a.enough(p.ballot, have) {
		return
	}
	if p.quorumAt < 0 {
		p.quorumAt = a.now
	}
	if a.now-p.quorumAt < a.grace && len(a.awaited(have)) > 0 {
		return
	}
	v := a.candidate(p)
	if !a.view.keeps(v) {
		return // nobody would be left who has the group's state
	}
	p.view = &v
	p.sent = a.now - repeat
	a.accepted, a.value = p.ballot, p.view
	p.accepts[a.self.ID] = true
}

// awaited returns the members that stay and have yet to answer.
func (a *agreement) awaited(have ids) (out []Peer) {
	for _, m := range a.view.members() {
		if !have[m.ID] && !a.dead[m.ID] && !a.leaving[m.ID] {
			out = append(out, m)
		}
	}
	return out
}

// candidate returns the view that a member of the quorum may already have
// accepted, the one of the highest ballot, or else the successor as the quorum
// sees it. A last stand heeds only what was accepted in one: it contradicts
// nothing in the old group, whose name it does not bear.
func (a *agreement) candidate(p *proposal) View {
	var highest ballot
	var v *View
	stay := ids{}
	var come []Peer
	for id, m := range p.promises {
		if m.View != nil && (v == nil || highest.less(m.Accepted)) {
			highest, v = m.Accepted, m.View
		}
		stay[id] = true
		come = append(come, m.Newcomers...)
		for _, l := range m.Leaving {
			a.leaving[l] = true
		}
	}
	if v != nil && (highest.last() || !p.ballot.last()) {
		return *v
	}
	for id := range stay {
		if a.dead[id] || a.leaving[id] {
			delete(stay, id)
		}
	}
	shut, leftOut := max(a.shutTill-a.now, 0), []Peer(nil)
	if shut > 0 {
		// One who asked late may have been let in under its old ID.
		leftOut = slices.DeleteFunc(slices.Clone(a.leftOut), func(p Peer) bool { return a.view.has(p.ID) })
	}
	if out := a.awaited(stay); len(out) > 0 { // who may live
		shut, leftOut = quarantine, append(leftOut, out...)
	}
	if shut > 0 {
		come = nil
	}
	next := successor(a.view, stay, come)
	next.Peers = together(prefer(next.Peers, a.order), a.near)
	next.Quarantine, next.LeftOut = shut, leftOut
	if p.ballot.last() {
		next.Group = refound(next)
	}
	return next
}
