package membership

import (
	"slices"
)

// Times of the agreement, in ticks of the node that drives it (25 ms).
const (
	grace       = 12 // from a quorum's answer until those who did not answer are left out
	stagger     = 3  // from the turn of one rank to propose to that of the next
	patience    = 10 // how long a proposal of somebody else may take
	repeat      = 4  // between two sendings of what was not answered
	settle      = 3  // from the first newcomer to the change that lets it in
	forget      = 80 // after this a newcomer that no longer asks is forgotten
	rebroadcast = 3  // times that a decision is sent again
)

// An agreement chooses views, one after the other. The members of view e choose
// view e+1 by single-decree Paxos (Lamport, "Paxos made simple", 2001). They are
// the acceptors; each may propose, the first ranks first. It is pure: time comes
// in through tick, messages through step, and go out through ready.
type agreement struct {
	self     Peer
	expect   int // a founder alone waits for this many peers…
	expectBy int // …for this many ticks
	now      int

	view      View // the newest that has us in it; epoch 0: none yet
	excluded  bool // there is a newer one without us
	contacts  []string
	newcomers map[string]newcomer
	leaving   ids
	dead      ids  // members proven dead
	wantedAt  int  // tick since which a change is wanted; -1: not wanted
	bereft    int  // tick at which more than half of the view were proven dead; -1: not yet
	cutOff    bool // the others may have gone on without us
	unwanted  bool // the epoch of the view is of no more use
	since     int  // tick at which a change became wanted, or was last attempted; -1: not wanted
	joined    int  // tick at which the first of the newcomers came

	promised ballot // as acceptor for the next view
	accepted ballot
	value    *View

	proposal *proposal // ours, while it has a chance
	attempts int

	out     []message
	decided bool   // a view was adopted since the last ready
	resend  int    // times that we still announce the newest view
	chosen  ballot // of the newest view
	former  []Peer
	foreign string // a group other than ours that talked to us

	quorum func(v View, dead, have ids) bool
}

type newcomer struct {
	peer  Peer
	heard int
}

// A proposal is one attempt to have the next view chosen.
type proposal struct {
	ballot   ballot
	promises map[string]message
	quorumAt int // tick at which enough had promised; -1 before
	view     *View
	accepts  ids
	sent     int // tick of the last sending
}

func newAgreement(self Peer, found bool, expect, expectTicks int) *agreement {
	a := &agreement{self: self, expect: expect, expectBy: expectTicks, since: -1, wantedAt: -1, bereft: -1, quorum: quorum}
	a.newcomers = make(map[string]newcomer)
	a.leaving, a.dead = ids{}, ids{}
	if found {
		a.view = View{Epoch: 1, Group: self.ID, Peers: []Peer{self}}
		a.decided = true
	}
	return a
}

// ready returns what is to be sent, and the newest view if it is new.
func (a *agreement) ready() (out []message, v View, decided bool) {
	a.advance()
	out, decided = a.out, a.decided
	a.out, a.decided = nil, false
	return out, a.view, decided
}

// send puts a message to a peer among those that ready returns.
func (a *agreement) send(to Peer, m message) {
	m.Group, m.From, m.Addr, m.To, m.dest = a.view.Group, a.self.ID, a.self.Addr, to.ID, to.Addr
	a.out = append(a.out, m)
}

func (a *agreement) reply(to, m message) { a.send(Peer{ID: to.From, Addr: to.Addr}, m) }

// tell sends a message without content to all members that are not dead.
func (a *agreement) tell(k kind) {
	for _, p := range a.view.Peers {
		if p.ID != a.self.ID && !a.dead[p.ID] {
			a.send(p, message{Kind: k, Epoch: a.view.Epoch + 1, Ballot: a.promised})
		}
	}
}

// announce sends the newest view to those whom it concerns.
func (a *agreement) announce() {
	v := a.view
	told := ids{a.self.ID: true}
	for _, p := range slices.Concat(a.former, v.Peers) {
		if !told[p.ID] {
			told[p.ID] = true
			a.send(p, message{Kind: kindDecided, Epoch: v.Epoch, Ballot: a.chosen, View: &v})
		}
	}
}

// tick lets one tick pass.
func (a *agreement) tick() {
	a.now++
	a.watch()
	for id, n := range a.newcomers {
		if a.now-n.heard > forget {
			delete(a.newcomers, id)
		}
	}
	switch {
	case a.excluded:
	case a.view.Epoch == 0:
		if a.now%repeat == 1 {
			a.askIn()
		}
	default:
		a.remind()
	}
}

func (a *agreement) askIn() {
	for _, addr := range a.contacts {
		a.out = append(a.out, message{Kind: kindJoin, From: a.self.ID, Addr: a.self.Addr, Newcomers: []Peer{a.self}, dest: addr})
	}
}

// remind sends again what may have been lost.
func (a *agreement) remind() {
	if a.resend > 0 {
		a.resend--
		a.announce()
	}
	if a.now%repeat != 0 {
		return
	}
	if a.unwanted {
		a.tell(kindRenew)
	}
	if a.leaving[a.self.ID] {
		a.tell(kindLeave)
	}
	if a.bereft >= 0 {
		a.askAround()
	}
}

// setContacts says whom a newcomer asks to be let in, and who else may know of
// later views.
func (a *agreement) setContacts(addrs []string) { a.contacts = addrs }

// renew says that an epoch is of no more use.
func (a *agreement) renew(epoch uint64) {
	if epoch == a.view.Epoch && epoch > 0 && !a.unwanted && !a.excluded {
		a.unwanted = true
		a.tell(kindRenew)
	}
}

// leave asks the others to go on without us.
func (a *agreement) leave() {
	if a.view.Epoch > 0 && !a.leaving[a.self.ID] && !a.excluded {
		a.leaving[a.self.ID] = true
		a.tell(kindLeave)
	}
}

// setDead takes up a proof that a peer has died.
func (a *agreement) setDead(id string) {
	if a.view.has(id) && id != a.self.ID {
		a.dead[id] = true
		a.mourn()
	}
	delete(a.newcomers, id)
}

// suspects returns the members for whose death a proof would help.
func (a *agreement) suspects() []Peer {
	if a.excluded || !a.wanted() {
		return nil
	}
	var out []Peer
	for _, p := range a.view.Peers {
		if p.ID != a.self.ID && !a.dead[p.ID] && !a.answered(p.ID) {
			out = append(out, p)
		}
	}
	return out
}

func (a *agreement) answered(id string) bool {
	p := a.proposal
	if p == nil {
		return false
	}
	if p.view != nil {
		return p.accepts[id]
	}
	_, ok := p.promises[id]
	return ok
}

// allLeave reports whether nobody is left who would want another view.
func (a *agreement) allLeave() bool {
	return !slices.ContainsFunc(a.view.Peers, func(p Peer) bool { return !a.dead[p.ID] && !a.leaving[p.ID] })
}

// wanted reports whether there is a reason to change the view.
func (a *agreement) wanted() bool {
	return a.view.Epoch > 0 && (a.unwanted || len(a.leaving) > 0 || len(a.dead) > 0 || a.admits())
}

// admits reports whether newcomers are waiting and have waited long enough.
func (a *agreement) admits() bool {
	if len(a.newcomers) == 0 {
		return false
	}
	waited := a.now - a.joined
	if a.view.Epoch == 1 && a.expect > 1 {
		return len(a.newcomers)+1 >= a.expect || waited >= a.expectBy
	}
	return waited >= settle
}

// advance proposes when it is our turn, and carries our proposal on.
func (a *agreement) advance() {
	switch {
	case a.excluded || a.view.Epoch == 0:
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
	for _, p := range a.view.Peers[:a.view.Rank(a.self.ID)] {
		if !a.dead[p.ID] && !a.leaving[p.ID] {
			before++
		}
	}
	if a.leaving[a.self.ID] {
		before = len(a.view.Peers)
	}
	wait := before * stagger
	if a.attempts > 0 || a.othersTry() {
		wait += patience
	}
	return wait
}

// othersTry reports whether we have promised a proposer who is not dead.
func (a *agreement) othersTry() bool {
	r := a.promised.Rank
	return a.promised != (ballot{}) && r >= 0 && !a.dead[a.view.Peers[r].ID]
}

// propose begins a proposal with a ballot above all that we know of.
func (a *agreement) propose() {
	a.attempts++
	round := a.promised.Round + 1
	if a.mayStand() {
		round = max(round, lastRound)
	}
	a.proposal = &proposal{
		ballot:   ballot{round, a.view.Rank(a.self.ID)},
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
	for _, m := range a.view.Peers {
		switch {
		case m.ID == a.self.ID || a.dead[m.ID] || a.answered(m.ID):
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
	if a.now-p.quorumAt < grace && a.awaits(have) {
		return
	}
	v := a.candidate(p)
	if len(v.Peers) == 0 {
		return
	}
	p.view = &v
	p.sent = a.now - repeat
	a.accepted, a.value = p.ballot, p.view
	p.accepts[a.self.ID] = true
}

// awaits reports whether a member that stays has yet to answer.
func (a *agreement) awaits(have ids) bool {
	return slices.ContainsFunc(a.view.Peers, func(m Peer) bool {
		return !have[m.ID] && !a.dead[m.ID] && !a.leaving[m.ID]
	})
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
	next := successor(a.view, stay, come)
	if p.ballot.last() {
		next.Group = refound(next)
	}
	return next
}
