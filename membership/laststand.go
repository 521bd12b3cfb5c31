package membership

import (
	"fmt"
	"strings"
)

// When more than half of a view are proven dead before it has a successor, no
// quorum is left, and there never will be one. Then all of the others together
// may make a last stand: the same protocol with ballots above all that a quorum
// can have used, in which all that are not proven dead decide. What it decides
// is a group of a new name, so that no view of the old one is contradicted, and
// whoever still follows the old one is told apart.
//
// That nobody still follows it is the one thing here that time must vouch for.
// The dead may have let in a newcomer, and nobody else knows. So we ask around
// and listen for a while; a newcomer whose ring is broken asks us as well. They
// may have gone on without us, too, if we were silent. But who goes on without
// somebody not proven dead lets nobody in for a while, the quarantine: so when we
// prove the death of most within that time from our last word with them, nobody
// follows a view of theirs. Else, because we were stopped, or waited long for
// proofs, we call no last stand, and pause until somebody answers. (The quarantine
// ends early when those who were left out are proven dead: who starts anew, having
// learned it, need not wait.)
//
//	our last word          we are left out                 somebody may be let in
//	     |---- at least grace ----|------- quarantine ------------|
//	     |--------- certain, at most -----------|  proof: they are dead
//
// What remains: newcomers whom the dead let in together with us within moments
// of their end, and who cannot reach us.
const (
	lastRound  = 1 << 32 // ballots of last stands are of this round or a later one
	hearken    = 20      // ticks from the proof to the last stand
	prompt     = 48      // ticks from a wanted change to the proof, at most
	certain    = 80      // ticks from our last word with the others to the proof, at most
	quarantine = 100     // ticks from a view without somebody who may live to the next newcomer
)

func (b ballot) last() bool { return b.Round >= lastRound }

// refound returns the name of the group that begins with v after a last stand.
func refound(v View) string { return fmt.Sprintf("%s+%d", v.Group, v.Epoch) }

// descends reports whether group g came out of the group old by last stands.
func descends(g, old string) bool { return strings.HasPrefix(g, old+"+") }

// watch notes since when a change is wanted.
func (a *agreement) watch() {
	switch {
	case !a.wanted():
		a.wantedAt = -1
	case a.wantedAt < 0:
		a.wantedAt = a.now
	}
}

// mourn notes when so many of the view are proven dead that the others are no
// quorum.
func (a *agreement) mourn() {
	living := ids{}
	for _, p := range a.view.members() {
		living[p.ID] = !a.dead[p.ID]
	}
	if a.bereft >= 0 || quorum(a.view, a.dead, living) {
		return
	}
	a.bereft, a.mourns = a.now, a.now
	a.cutOff = a.doubtAt >= 0 && a.now-a.doubtAt > certain || a.wantedAt >= 0 && a.now-a.wantedAt > prompt
}

// lapse says that time has passed without ticks: this process was stopped, had no
// processor, or its machine slept.
func (a *agreement) lapse(ticks int) {
	a.now += ticks
	a.wokeAt = a.now
	switch {
	case a.bereft >= 0:
		a.bereft = a.now // what was said meanwhile is still to be read
	case a.doubtAt < 0:
		a.doubtAt = a.now - ticks
	}
}

// confirm takes up the news that all members of an epoch are with us.
func (a *agreement) confirm(epoch uint64) {
	if epoch != a.view.Epoch {
		return
	}
	for _, p := range a.view.Peers {
		a.heard[p.ID] = a.now
	}
	if a.bereft < 0 {
		a.doubtAt = -1
	}
}

// askAround asks everybody we can think of for a later view.
func (a *agreement) askAround() {
	for _, addr := range a.contacts {
		m := message{Kind: kindAsk, Epoch: a.view.Epoch + 1, Ballot: a.promised}
		a.send(Peer{Addr: addr}, m)
	}
}

// mayStand reports whether this peer may call the others to a last stand.
func (a *agreement) mayStand() bool {
	return a.bereft >= 0 && !a.cutOff && a.now-a.bereft >= hearken
}

// stranded reports whether this peer may call no last stand, and has asked around
// for so many ticks in vain, and listened for a while since it woke last.
func (a *agreement) stranded(ticks int) bool {
	listened := a.now-a.bereft > hearken
	return a.bereft >= 0 && a.cutOff && !a.excluded && a.now-a.mourns > ticks && listened
}

// enough reports whether the peers in have may decide under a ballot.
func (a *agreement) enough(b ballot, have ids) bool {
	if a.quorum(a.view, a.dead, have) {
		return true
	}
	_, survivors, missing := count(a.view, a.dead, have)
	return b.last() && survivors > 0 && missing == 0
}
