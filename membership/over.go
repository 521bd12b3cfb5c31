package membership

import (
	"fmt"
	"maps"
	"slices"
)

// When all members of a view have done all that was to be done, the run is over, for
// everybody: no view of theirs can be followed by one that does more. Who has
// finished says so to whoever asks, wants in, or was left out, until it leaves. One
// that was stopped meanwhile finds the word among its packets when it goes on; one
// that nobody could reach may hear it from its launcher (Node.Tell).
//
//	over      member → any             the run has ended in epoch e
//
// The epoch of this message is not the one that is being chosen.

// An End says how a run has ended.
type End struct {
	Group string
	Epoch uint64 // of the view whose members had done everything
	Steps uint64 // as the layer above counts them
}

// An EndedError reports that the run has ended. Next returns it.
type EndedError struct{ End }

func (e *EndedError) Error() string {
	return fmt.Sprintf("membership: the run has ended in view %d, after step %d", e.Epoch, e.Steps)
}

// seekTime is for how many ticks after Missing those who were left out are probed.
const seekTime = 40

// returnTime is for how many ticks a peer that was left out is missed after it is
// proven that it has gone: it may be the same process under another ID that proves
// that, and asks to be let in next.
const returnTime = 40

// An absentee was left out of a view.
type absentee struct {
	peer Peer
	till int // the tick until which it is missed; 0: as long as it is not proven dead
}

// wakeTime is how many ticks a peer that was stopped, and learns that it was left out,
// reads on: the word that the run is over may be among its packets, too.
const wakeTime = 2

// Finish says that all members of a view have done everything. From now on this
// node tells everybody who may not know it.
func (n *Node) Finish(e End) { n.ask(func(a *agreement) { a.finish(e) }) }

// Tell passes on what a launcher knows: that the run has ended so. Unless this node
// has finished itself, Next returns an EndedError.
func (n *Node) Tell(e End) { n.ask(func(a *agreement) { a.hearEnd("", e) }) }

// leftOut reports whether this peer has to start anew.
func (n *Node) leftOut(a *agreement) bool {
	return a.excluded && a.now-a.wokeAt > wakeTime && elapsed(n.ticked) <= lapseTime
}

// Missing returns who may yet come: newcomers that wait to be let in, and who was left
// out of a view and is not proven dead. Whoever asks makes the node look for proof.
func (n *Node) Missing() []Peer {
	got := make(chan []Peer, 1)
	n.ask(func(a *agreement) {
		a.seekTill = a.now + seekTime
		got <- slices.Concat(a.absent(), a.awaiting())
	})
	select {
	case all := <-got:
		return all
	case <-n.quit:
		return nil
	}
}

func (a *agreement) finish(e End) {
	if a.finished {
		return
	}
	a.end, a.finished = &e, true
	for _, p := range a.absent() {
		a.sayOver(p)
	}
}

// absent returns who was left out of this view or one before it, and may live.
func (a *agreement) absent() []Peer {
	maps.DeleteFunc(a.missing, func(_ string, m absentee) bool { return m.till > 0 && a.now > m.till })
	var out []Peer
	for _, id := range slices.Sorted(maps.Keys(a.missing)) {
		out = append(out, a.missing[id].peer)
	}
	return out
}

// awaiting returns the newcomers for whom there is room.
func (a *agreement) awaiting() []Peer {
	if a.view.full() {
		return nil
	}
	var out []Peer
	for _, id := range slices.Sorted(maps.Keys(a.newcomers)) {
		if p := a.newcomers[id].peer; !p.Witness {
			out = append(out, p)
		}
	}
	return out
}

// missed takes up who is left out of a new view.
func (a *agreement) missed(v View) {
	for _, p := range v.LeftOut {
		if !p.Witness { // which has no use for the result
			a.missing[p.ID] = absentee{peer: p}
		}
	}
	for _, p := range v.members() {
		delete(a.missing, p.ID)
	}
}

func (a *agreement) sayOver(to Peer) {
	a.out = append(a.out, message{
		Kind: kindOver, Group: a.end.Group, From: a.self.ID, Addr: a.self.Addr, To: to.ID,
		Epoch: a.end.Epoch, Steps: a.end.Steps, dest: to.Addr,
	})
}

// remindOver says it again to those who may not have heard it.
func (a *agreement) remindOver() {
	for _, p := range slices.Concat(a.view.members(), a.absent()) {
		if p.ID != a.self.ID && !a.dead[p.ID] && !a.leaving[p.ID] {
			a.sayOver(p)
		}
	}
}

// hearEnd takes up the word that the run is over; from is a peer, or nobody.
func (a *agreement) hearEnd(from string, e End) {
	switch {
	case a.view.Group != "" && e.Group != a.view.Group && !descends(e.Group, a.view.Group) && !descends(a.view.Group, e.Group):
		a.foreign = e.Group
	case a.finished:
		if a.view.has(from) {
			a.leaving[from] = true
		}
	default:
		a.end = &e
	}
}

// asksOn reports whether who says so does not know that the run is over.
func (k kind) asksOn() bool {
	switch k {
	case kindJoin, kindAsk, kindRenew, kindPrepare, kindAccept:
		return true
	}
	return false
}
