package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// viewHold is how long the news of a view waits for that of a worker's end:
// whether it was lost or has finished is seen from two sides.
const viewHold = 500 * time.Millisecond

// viewLog turns what all workers report about views into one line for each.
type viewLog struct {
	founding bool           // of more than one peer: view 1, the founder alone, is no news
	index    map[string]int // peers that are workers of this launcher
	finished map[string]bool

	epoch uint64 // of the last view told
	peers []string
	held  []heldView // later ones, in order
}

type heldView struct {
	epoch uint64
	peers []string
}

// add takes a report and says whether it is new.
func (l *viewLog) add(epoch uint64, peers []string) bool {
	last := l.epoch
	if n := len(l.held); n > 0 {
		last = l.held[n-1].epoch
	}
	if epoch <= last {
		return false
	}
	l.held = append(l.held, heldView{epoch, slices.Clone(peers)})
	return true
}

// has reports whether the newest view that was reported has the peer.
func (l *viewLog) has(id string) bool {
	peers := l.peers
	if n := len(l.held); n > 0 {
		peers = l.held[n-1].peers
	}
	return slices.Contains(peers, id)
}

// lines describes the views held, until one lacks a peer of whose end nothing
// is known. With all set it describes that one as well: the peer is lost.
func (l *viewLog) lines(all bool, running func(worker int) bool) []string {
	var lines []string
	for len(l.held) > 0 && (all || !l.unsure(l.held[0].peers, running)) {
		if line, ok := l.line(l.held[0].epoch, l.held[0].peers); ok {
			lines = append(lines, line)
		}
		l.held = l.held[1:]
	}
	return lines
}

func (l *viewLog) unsure(peers []string, running func(worker int) bool) bool {
	return slices.ContainsFunc(l.peers, func(id string) bool {
		w, mine := l.index[id]
		return mine && !slices.Contains(peers, id) && !l.finished[id] && running(w)
	})
}

// line describes the next view, unless it says nothing new.
func (l *viewLog) line(epoch uint64, peers []string) (string, bool) {
	var joined, lost, left []string
	for _, id := range l.peers {
		switch {
		case slices.Contains(peers, id):
		case l.finished[id]:
			left = append(left, id)
		default:
			lost = append(lost, id)
		}
	}
	for _, id := range peers {
		if l.peers != nil && !slices.Contains(l.peers, id) {
			joined = append(joined, id)
		}
	}
	if l.founding && l.epoch <= 1 {
		joined = nil // the group assembles
	}
	onlyLeft := len(left) > 0 && len(lost)+len(joined) == 0
	alone := l.founding && epoch == 1
	l.epoch, l.peers = epoch, peers
	if onlyLeft || alone {
		return "", false
	}
	changes := slices.DeleteFunc([]string{
		l.say(lost, "was lost", "were lost"), l.say(left, "has finished", "have finished"), l.say(joined, "joined", "joined"),
	}, func(s string) bool { return s == "" })
	line := fmt.Sprintf("view %d: %s", epoch, count(len(peers), "peer"))
	if len(changes) > 0 {
		line += " (" + strings.Join(changes, "; ") + ")"
	}
	return line, true
}

// names returns what peers are called in a line.
func (l *viewLog) names(ids []string) []string {
	names := make([]string, len(ids))
	for i, id := range ids {
		names[i] = id
		if w, ok := l.index[id]; ok {
			names[i] = fmt.Sprintf("p%d", w)
		}
	}
	return names
}

func (l *viewLog) say(ids []string, one, many string) string {
	names := l.names(ids)
	switch len(ids) {
	case 0:
		return ""
	case 1:
		return names[0] + " " + one
	}
	return strings.Join(names, ", ") + " " + many
}

// count is "1 peer" or "3 peers".
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
