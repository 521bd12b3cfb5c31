package membership

import (
	"slices"
)

// Times of the agreement, in ticks of the node that drives it (25 ms).
const (
	grace       = 12 // from a quorum's answer until those who did not answer are left out
	stagger     = 3  // from the turn of one rank to propose to that of the next
	patience    = 10 // how long somebody else may propose without a word, times our attempts…
	mostPatient = 4  // …up to so many
	holdOff     = 60 // how long a proposer that we hear may keep us from proposing
	repeat      = 4  // between two sendings of what was not answered
	settle      = 3  // from the first newcomer to the change that lets it in
	forget      = 80 // after this a newcomer that no longer asks is forgotten
	rebroadcast = 3  // times that a decision is sent again
	inquire     = 40 // between two questions of a witness whether there is a later view
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
	dead      ids            // members proven dead
	wantedAt  int            // tick since which a change is wanted; -1: not wanted
	bereft    int            // tick at which those not proven dead were too few for a quorum, or since then at which we woke; -1: not yet
	mourns    int            // tick at which they were too few first
	doubtAt   int            // tick since which the others may have gone on without us; -1: they have not
	cutOff    bool           // when we were bereft, they may have let newcomers in as well
	leftOut   []Peer         // who may live, and is not in the view
	shutTill  int            // tick until which nobody is let in
	heard     map[string]int // tick at which a member was last heard of
	unwanted  bool           // the epoch of the view is of no more use
	since     int            // tick at which a change became wanted, or was last attempted; -1: not wanted
	yieldedAt int            // tick of our last promise to another proposer
	joined    int            // tick at which the first of the newcomers came
	fullAt    int            // how many peers the group has that cannot let us in; 0: not so
	grace     int

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

	wokeAt   int                 // tick at which time had passed without ticks
	missing  map[string]absentee // who was left out of a view
	seekTill int                 // tick until which they are probed
	end      *End                // the run is over
	finished bool                // and we have seen to that ourselves

	quorum func(v View, dead, have ids) bool
	near   func(meta []byte) string // see together; may be nil
	order  []string                 // see prefer
}

type newcomer struct {
	peer  Peer
	heard int
}

// newAgreement begins without a view, or with a group of one if found is set, in
// which prefer is preferred.
func newAgreement(self Peer, found bool, prefer string, expect, expectTicks int) *agreement {
	a := &agreement{self: self, expect: expect, expectBy: expectTicks, quorum: quorum, grace: grace}
	a.since, a.wantedAt, a.bereft, a.doubtAt = -1, -1, -1, -1
	a.wokeAt = -wakeTime - 1
	a.newcomers, a.heard = make(map[string]newcomer), make(map[string]int)
	a.leaving, a.dead, a.missing = ids{}, ids{}, make(map[string]absentee)
	if found {
		a.view = View{Epoch: 1, Group: self.ID, Peers: []Peer{self}, Prefer: prefer}
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
	for _, p := range a.view.members() {
		if p.ID != a.self.ID && !a.dead[p.ID] {
			a.send(p, message{Kind: k, Epoch: a.view.Epoch + 1, Ballot: a.promised})
		}
	}
}

// announce sends the newest view to those whom it concerns.
func (a *agreement) announce() {
	v := a.view
	told := ids{a.self.ID: true}
	for _, p := range slices.Concat(a.former, v.members()) {
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
		if a.resend > 0 { // we decided that ourselves, and nobody else may know
			a.resend--
			a.announce()
		}
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
	if a.self.Witness && a.now%inquire == 0 {
		a.tell(kindAsk) // no ring tells it that the others have gone on
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
	if a.finished {
		a.remindOver()
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
	a.leftOut = slices.DeleteFunc(a.leftOut, func(p Peer) bool { return p.ID == id })
	if len(a.leftOut) == 0 {
		a.shutTill = 0
	}
	if m, was := a.missing[id]; was && m.till == 0 {
		a.missing[id] = absentee{m.peer, a.now + returnTime}
	}
	delete(a.newcomers, id)
}

// suspects returns the members for whose death a proof would help.
func (a *agreement) suspects() []Peer {
	var out []Peer
	if a.excluded {
		return nil
	}
	if a.now < a.shutTill && len(a.newcomers) > 0 {
		out = slices.Clone(a.leftOut)
	} else if a.now < a.seekTill {
		out = a.absent()
	}
	if !a.wanted() {
		return out
	}
	for _, p := range a.view.members() {
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

// allLeave reports whether nobody is left who would train in another view.
func (a *agreement) allLeave() bool {
	return !slices.ContainsFunc(a.view.Peers, func(p Peer) bool { return !a.dead[p.ID] && !a.leaving[p.ID] })
}

// wanted reports whether there is a reason to change the view.
func (a *agreement) wanted() bool {
	return a.view.Epoch > 0 && (a.unwanted || len(a.leaving) > 0 || len(a.dead) > 0 || a.admits())
}

// admits reports whether newcomers are waiting and have waited long enough.
func (a *agreement) admits() bool {
	if len(a.newcomers) == 0 || a.now < a.shutTill {
		return false
	}
	if a.view.full() && a.trainers() == len(a.newcomers) {
		return false // they wait until one of us leaves
	}
	waited := a.now - a.joined
	if a.view.Epoch == 1 && a.expect > 1 {
		return a.trainers()+1 >= a.expect || waited >= a.expectBy
	}
	return waited >= settle
}

// trainers counts the newcomers that are not witnesses.
func (a *agreement) trainers() int {
	n := 0
	for _, c := range a.newcomers {
		if !c.peer.Witness {
			n++
		}
	}
	return n
}
