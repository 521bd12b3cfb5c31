package membership

import (
	"maps"
	"slices"
)

// step takes up one message.
func (a *agreement) step(m message) {
	if m.To != "" && m.To != a.self.ID || m.From == a.self.ID {
		return
	}
	if m.Kind == kindOver {
		a.hearEnd(m.From, End{m.Group, m.Epoch, m.Steps})
		return
	}
	if a.excluded {
		return
	}
	if a.end != nil && m.Kind.asksOn() {
		a.sayOver(Peer{ID: m.From, Addr: m.Addr})
	}
	if a.view.has(m.From) {
		a.heard[m.From] = a.now
	}
	if m.Kind == kindDecided {
		a.learn(*m.View, m.Ballot)
		return
	}
	if m.Group != "" && a.view.Group != "" && m.Group != a.view.Group {
		a.stranger(m)
		return
	}
	switch m.Kind {
	case kindJoin:
		a.letIn(m)
		return
	case kindAsk:
		a.answer(m)
		return
	}
	switch next := a.view.Epoch + 1; {
	case a.view.Epoch == 0 && m.Kind == kindFull:
		a.fullAt = m.Limit
	case a.view.Epoch == 0:
		return // we are not in, and what we hear is for another
	case m.Epoch < next:
		a.answer(m)
	case m.Epoch > next:
		a.reply(m, message{Kind: kindAsk, Epoch: next, Ballot: a.promised})
	case a.view.has(m.From):
		a.member(m)
	}
}

// stranger takes up a message from another group. Those who made a last stand
// have left the old group: whoever is still in that one is told, or asks.
func (a *agreement) stranger(m message) {
	switch {
	case descends(m.Group, a.view.Group):
		a.reply(m, message{Kind: kindAsk, Epoch: a.view.Epoch + 1, Ballot: a.promised})
	case descends(a.view.Group, m.Group):
		a.answer(m)
	default:
		a.foreign = m.Group
	}
}

// member takes up what another member says about the next view.
func (a *agreement) member(m message) {
	if (m.Kind == kindPrepare || m.Kind == kindAccept) && m.Ballot.Rank != a.view.seat(m.From) {
		return // a ballot is its proposer's own
	}
	switch m.Kind {
	case kindRenew:
		a.unwanted = true
	case kindLeave:
		a.leaving[m.From] = true
	case kindPrepare:
		if m.Ballot.less(a.promised) {
			a.reply(m, message{Kind: kindRefuse, Epoch: m.Epoch, Ballot: a.promised})
			return
		}
		a.yield(m.Ballot)
		a.reply(m, a.promise(m.Ballot))
	case kindAccept:
		if m.Ballot.less(a.promised) {
			a.reply(m, message{Kind: kindRefuse, Epoch: m.Epoch, Ballot: a.promised})
			return
		}
		a.yield(m.Ballot)
		a.accepted, a.value = m.Ballot, m.View
		a.reply(m, message{Kind: kindAccepted, Epoch: m.Epoch, Ballot: m.Ballot})
	case kindPromise:
		if p := a.proposal; p != nil && p.ballot == m.Ballot && p.view == nil {
			p.promises[m.From] = m
		}
	case kindAccepted:
		if p := a.proposal; p != nil && p.ballot == m.Ballot && p.view != nil {
			p.accepts[m.From] = true
		}
	case kindRefuse:
		if p := a.proposal; p != nil && p.ballot.less(m.Ballot) {
			a.yieldRound(m.Ballot)
		}
	}
}

// yield promises a ballot of another proposer, and gives it time: more while it
// is heard, for it may be waiting for others, but not for ever, for it may not
// hear us.
func (a *agreement) yield(b ballot) {
	if a.promised.less(b) {
		a.promised = b
		a.proposal = nil
		a.since, a.yieldedAt = a.now, a.now
	} else if a.now-a.yieldedAt < holdOff {
		a.since = a.now
	}
}

// yieldRound drops our proposal, which cannot win, so that the next one starts
// above what beat it. It promises nothing.
func (a *agreement) yieldRound(b ballot) {
	a.proposal = nil
	a.since = a.now
	if a.promised.Round < b.Round {
		a.promised = ballot{b.Round, -1}
	}
}

// promise answers a prepare.
func (a *agreement) promise(b ballot) message {
	m := message{Kind: kindPromise, Epoch: a.view.Epoch + 1, Ballot: b, Accepted: a.accepted, View: a.value}
	for _, id := range slices.Sorted(maps.Keys(a.newcomers)) {
		m.Newcomers = append(m.Newcomers, a.newcomers[id].peer)
	}
	m.Leaving = slices.Sorted(maps.Keys(a.leaving))
	return m
}

// letIn notes a newcomer, or tells it that it is in.
func (a *agreement) letIn(m message) {
	switch {
	case a.view.Epoch == 0 || a.end != nil:
	case a.view.has(m.From):
		a.answer(m)
	default:
		if len(a.newcomers) == 0 {
			a.joined = a.now
		}
		a.newcomers[m.From] = newcomer{m.Newcomers[0], a.now}
		if a.view.full() && !m.Newcomers[0].Witness {
			a.reply(m, message{Kind: kindFull, Limit: a.view.Limit})
		}
	}
}

// answer tells a peer that is behind the newest view. The ballot is the one it
// asked with.
func (a *agreement) answer(m message) {
	if a.view.Epoch > 0 && m.Epoch <= a.view.Epoch {
		v := a.view
		a.reply(m, message{Kind: kindDecided, Epoch: v.Epoch, Ballot: m.Ballot, View: &v})
	}
}

// learn takes up a decision. After the promise of a last stand, one of the old
// group is believed only as an answer to that ballot: else it may be the late
// word of peers who are dead.
func (a *agreement) learn(v View, b ballot) {
	switch {
	case a.view.Epoch > 0 && v.Group != a.view.Group && !descends(v.Group, a.view.Group):
		if !descends(a.view.Group, v.Group) {
			a.foreign = v.Group
		}
	case v.Epoch <= a.view.Epoch:
	case v.Group == a.view.Group && a.promised.last() && b.less(a.promised):
	default:
		a.adopt(v, b)
	}
}

// adopt makes a decided view ours, or finds that we are not in it.
func (a *agreement) adopt(v View, b ballot) {
	a.chosen, a.resend = b, 0
	if !v.has(a.self.ID) {
		if a.view.Epoch > 0 {
			a.excluded = true
			a.former = a.view.members()
			a.view = v
			a.proposal = nil
		}
		return
	}
	a.former = a.view.members()
	a.view = v
	a.decided = true
	a.missed(v)
	if v.Quarantine > 0 {
		a.shutTill, a.leftOut = a.now+v.Quarantine, slices.Clone(v.LeftOut)
	}
	clear(a.heard)
	for _, p := range v.members() {
		a.heard[p.ID] = a.now
	}
	a.unwanted, a.since, a.attempts = false, -1, 0
	a.dead = ids{}
	a.wantedAt, a.bereft, a.doubtAt, a.cutOff = -1, -1, -1, false
	a.promised, a.accepted, a.value, a.proposal = ballot{}, ballot{}, nil, nil
	a.joined = a.now
	for id := range a.newcomers {
		if v.has(id) {
			delete(a.newcomers, id)
		}
	}
	for id := range a.leaving {
		if !v.has(id) {
			delete(a.leaving, id)
		}
	}
}
