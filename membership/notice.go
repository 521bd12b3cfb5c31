package membership

import (
	"fmt"
	"slices"
	"strings"
)

// A Notice is something that a node has noticed about its group; see
// Config.Notice.
type Notice struct {
	What  What
	Peer  string // whom it is about
	Addr  string // of that peer
	Epoch uint64 // of the view that it is about
	Text  string
}

// What is what a Notice says.
type What string

const (
	Wanted    What = "wanted"    // a successor of view Epoch is; Text says why
	Suspected What = "suspected" // Peer keeps the others waiting: it is probed
	Proven    What = "proven"    // that Peer is dead
	Proposed  What = "proposed"  // the successor of view Epoch, by Peer
	Decided   What = "decided"   // view Epoch
	LeftOut   What = "left out"  // this peer, of view Epoch
	Paused    What = "paused"    // this peer may not go on; Text says why
	Resumed   What = "resumed"   // after that
)

// A noticer compares the agreement with what it was, and tells what is new. It
// belongs to the node's goroutine.
type noticer struct {
	tell      func(Notice)
	epoch     uint64
	wanted    bool
	excluded  bool
	paused    bool
	promised  ballot
	suspected ids
	dead      ids
}

func newNoticer(tell func(Notice)) *noticer {
	return &noticer{tell: tell, suspected: ids{}, dead: ids{}}
}

func (n *noticer) look(a *agreement) {
	if n.tell == nil {
		return
	}
	n.changes(a)
	if a.view.Epoch != n.epoch {
		n.epoch, n.promised, n.wanted = a.view.Epoch, ballot{}, false
		clear(n.suspected)
		clear(n.dead)
		if !a.excluded {
			n.tell(Notice{What: Decided, Epoch: n.epoch})
		}
	}
	if a.excluded && !n.excluded {
		n.tell(Notice{What: LeftOut, Epoch: a.view.Epoch})
	}
	n.excluded = a.excluded
	if paused := a.bereft >= 0 && a.cutOff; paused != n.paused {
		n.paused = paused
		n.pause(paused, "most of the view are dead, and the others may have gone on without this peer")
	}
}

// changes tells what happens on the way to the next view.
func (n *noticer) changes(a *agreement) {
	wanted := a.wanted() && !a.excluded
	if wanted && !n.wanted {
		n.tell(Notice{What: Wanted, Epoch: n.epoch, Text: a.reason()})
	}
	n.wanted = wanted
	for _, p := range a.view.members() {
		if a.dead[p.ID] && !n.dead[p.ID] {
			n.dead[p.ID] = true
			n.tell(Notice{What: Proven, Peer: p.ID, Addr: p.Addr, Epoch: n.epoch})
		}
	}
	if wanted {
		for _, p := range a.suspects() {
			if !n.suspected[p.ID] {
				n.suspected[p.ID] = true
				n.tell(Notice{What: Suspected, Peer: p.ID, Addr: p.Addr, Epoch: n.epoch})
			}
		}
	}
	if r := a.promised.Rank; a.promised != n.promised && r >= 0 && r < len(a.view.members()) {
		n.tell(Notice{What: Proposed, Peer: a.view.members()[r].ID, Epoch: n.epoch})
	}
	n.promised = a.promised
}

// pause tells that the group may not go on, as this peer sees it, or that it may.
func (n *noticer) pause(begins bool, why string) {
	what := Resumed
	if begins {
		what = Paused
	}
	if n.tell != nil {
		n.tell(Notice{What: what, Epoch: n.epoch, Text: why})
	}
}

// reason says why a change of view is wanted.
func (a *agreement) reason() string {
	var all []string
	if a.unwanted {
		all = append(all, "its ring is of no use")
	}
	names := func(of ids) string {
		var l []string
		for id := range of {
			l = append(l, id)
		}
		slices.Sort(l)
		return strings.Join(l, ", ")
	}
	if len(a.dead) > 0 {
		all = append(all, "dead: "+names(a.dead))
	}
	if len(a.leaving) > 0 {
		all = append(all, "leaving: "+names(a.leaving))
	}
	if a.admits() {
		come := ids{}
		for id := range a.newcomers {
			come[id] = true
		}
		all = append(all, fmt.Sprintf("%d coming: %s", len(come), names(come)))
	}
	return strings.Join(all, "; ")
}
