package web

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

// States of a node.
const (
	stateLive   = "live"
	stateNew    = "new"    // in the view, and may not have been asked yet
	stateSilent = "silent" // in the view, and does not answer
	stateLost   = "lost"   // no longer in the view
	stateLeft   = "left"   // likewise, after it said so
	stateEnded  = "ended"  // the run is over for it
)

// A snapshot is what the page draws.
type snapshot struct {
	Time     int64    `json:"time"` // milliseconds since 1970
	Epoch    uint64   `json:"epoch"`
	Answer   int      `json:"answer"`   // how many peers do
	Ended    bool     `json:"ended"`    // nobody answers any more, or all have ended
	Why      string   `json:"why"`      // nobody ever did
	Nodes    []node   `json:"nodes"`    // in the order of the ring; those who are gone where they were
	Blocking []string `json:"blocking"` // for whom all others wait
	Events   []event  `json:"events,omitempty"`
	Points   []point  `json:"points,omitempty"`
}

type node struct {
	ID     string          `json:"id"`
	Addr   string          `json:"addr,omitempty"`
	State  string          `json:"state"`
	Rank   int             `json:"rank"` // -1: not in the view
	Why    string          `json:"why,omitempty"`
	Status json.RawMessage `json:"status,omitempty"`
}

// draw makes a snapshot, without events and points. It is called with w.mu held.
func (w *watcher) draw(now time.Time) *snapshot {
	s := &snapshot{Time: now.UnixMilli(), Epoch: w.view.Epoch, Nodes: []node{}, Blocking: []string{}}
	ended, fresh := 0, 0
	for rank, m := range w.view.Peers {
		n := w.node(m, now)
		n.Rank = rank
		switch n.State {
		case stateLive:
			s.Answer++
		case stateEnded:
			ended++
		case stateNew:
			fresh++
		}
		s.Nodes = append(s.Nodes, n)
	}
	s.Ended = len(s.Nodes) > 0 && s.Answer+fresh == 0
	if len(s.Nodes) == 0 {
		s.Why = w.reason()
	}
	if s.Ended && (ended > 0 || allGone(s.Nodes)) { // the rest was quicker than we were
		for i := range s.Nodes {
			s.Nodes[i].State, s.Nodes[i].Why = stateEnded, ""
		}
	}
	s.Blocking = append(s.Blocking, w.blocking(s.Nodes)...)
	s.Nodes = w.log.gone(s.Nodes, now.Add(-goneFor).UnixMilli())
	return s
}

// allGone reports whether the process of every peer has ended.
func allGone(nodes []node) bool {
	return !slices.ContainsFunc(nodes, func(n node) bool { return n.Why != errGone.Error() })
}

func (w *watcher) node(m member, now time.Time) node {
	n := node{ID: m.ID, Addr: m.Addr, State: stateLive}
	p := w.peers[m.Addr]
	switch {
	case p == nil, p.ok.IsZero() && p.why == nil && now.Sub(p.since) < lostAfter:
		n.State = stateNew
		return n
	case !p.ok.IsZero() && p.last.status.ID == m.ID:
		n.Status = p.last.Raw
	}
	late := now.Sub(p.ok) > lostAfter
	switch {
	case n.Status != nil && p.last.Ended && p.why != nil:
		n.State = stateEnded
	case p.why != nil && (late || !errors.Is(p.why, errMute)):
		n.State, n.Why = stateSilent, p.why.Error()
	case n.Status == nil && !p.ok.IsZero():
		n.State, n.Why = stateSilent, fmt.Sprintf("%s has taken its address", p.last.status.ID)
	case late:
		n.State, n.Why = stateSilent, errMute.Error()
	case p.last.Ended:
		n.State = stateEnded
	}
	return n
}

// reason says why nothing is known.
func (w *watcher) reason() string {
	for addr, p := range w.peers {
		if p.why != nil {
			return fmt.Sprintf("%s: %s", addr, p.why)
		}
	}
	return ""
}

const blockingTime = 1.0 // s that others must have waited

// blocking names those who keep all others waiting.
func (w *watcher) blocking(nodes []node) []string {
	var busy []string
	for _, n := range nodes {
		var st status
		if n.State == stateLive {
			st = w.peers[n.Addr].last.status
		}
		switch {
		case n.State == stateEnded, n.State == stateNew:
			return nil
		case n.State == stateSilent || st.Phase != "reducing" && st.Phase != "waiting":
			busy = append(busy, n.ID)
		case st.InPhase < blockingTime:
			return nil
		}
	}
	if len(busy) == len(nodes) {
		return nil
	}
	return busy
}

// An event is one line of the log; see elastic.Event.
type event struct {
	Number uint64   `json:"number"` // here: of the log
	Time   int64    `json:"time"`
	Kind   string   `json:"kind"`
	Peer   string   `json:"peer"` // who told it first
	Epoch  uint64   `json:"epoch,omitempty"`
	Step   uint64   `json:"step,omitempty"`
	Was    []string `json:"was,omitempty"`
	Peers  []string `json:"peers,omitempty"`
	Joined []string `json:"joined,omitempty"`
	Lost   []string `json:"lost,omitempty"`
	Left   []string `json:"left,omitempty"`
	Text   string   `json:"text,omitempty"`
}

// A log holds what all peers tell, once.
type log struct {
	events []event
	known  map[string]bool
	number uint64
}

// add takes up an event that a peer tells whose clock is so many milliseconds
// ahead of ours.
func (l *log) add(e event, peer string, ahead int64) {
	key := fmt.Sprint(e.Kind, e.Epoch, e.Step, e.Peers)
	switch e.Kind {
	case "checkpoint", "restored", "drained":
		key += peer
	case "view":
		if len(e.Was) == 0 && e.Epoch > 1 {
			return // to a newcomer all is new: the others tell what has changed
		}
	}
	if l.known[key] {
		return
	}
	if l.known == nil || len(l.known) > 8*maxEvents {
		l.known = map[string]bool{}
	}
	l.known[key] = true
	l.number++
	e.Number, e.Peer, e.Time = l.number, peer, e.Time-ahead
	l.events = append(l.events, e)
	l.events = l.events[max(0, len(l.events)-maxEvents):]
}

// after returns the events that follow the one of a number, by time.
func (l *log) after(number uint64) []event {
	i := slices.IndexFunc(l.events, func(e event) bool { return e.Number > number })
	if i < 0 {
		return nil
	}
	out := slices.Clone(l.events[i:])
	slices.SortStableFunc(out, func(a, b event) int { return cmp.Compare(a.Time, b.Time) })
	return out
}

// gone adds the peers that have gone since a time, each behind the one that it
// stood behind in its last view.
func (l *log) gone(nodes []node, since int64) []node {
	for _, e := range slices.Backward(l.events) { // an older view has room for who was in a later one
		if e.Kind != "view" || e.Time < since {
			continue
		}
		for i, id := range e.Was {
			state := stateLost
			if slices.Contains(e.Left, id) {
				state = stateLeft
			} else if !slices.Contains(e.Lost, id) {
				continue
			}
			if slices.ContainsFunc(nodes, func(n node) bool { return n.ID == id }) {
				continue
			}
			at := slices.IndexFunc(nodes, func(n node) bool { return i > 0 && n.ID == e.Was[i-1] }) + 1
			nodes = slices.Insert(nodes, at, node{ID: id, State: state, Rank: -1})
		}
	}
	return nodes
}
