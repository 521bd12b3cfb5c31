package membership

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"go.uber.org/zap"
)

// ErrPartitioned reports that too many peers were silent, that nobody could prove
// them dead, and that Config.OnPartition was "stop".
var ErrPartitioned = errors.New("membership: cut off from the others")

const (
	unheard    = 24              // ticks without a word after which a member is missing
	pauseAfter = 40              // ticks from a wanted change until a pause is worth a word
	stopAfter  = 5 * time.Second // of a pause, under the policy "stop"
)

// A policy says what a peer does when so many others are silent that those it
// hears are no quorum.
type policy struct {
	stop   bool   // end, with ErrPartitioned; else wait
	prefer string // whose half goes on
}

func parsePolicy(s string) (policy, error) {
	name, id, has := strings.Cut(s, "=")
	switch {
	case s == "" || s == "pause":
		return policy{}, nil
	case s == "stop":
		return policy{stop: true}, nil
	case name == "prefer" && has:
		return policy{prefer: id}, checkName(id)
	}
	return policy{}, errors.New("want pause, stop or prefer=ID")
}

// stalled returns the members for whom the change of the view waits, and for how
// many ticks none of them has been heard of. None are missing while a change may
// yet come about.
func (a *agreement) stalled() (missing []Peer, ticks int) {
	if a.view.Epoch == 0 || a.excluded || a.wantedAt < 0 || a.now-a.wantedAt < pauseAfter {
		return nil, 0
	}
	have := ids{a.self.ID: true}
	last := 0
	for _, p := range a.view.members() {
		switch heard := a.heard[p.ID]; {
		case p.ID == a.self.ID || a.dead[p.ID]:
		case a.now-heard <= unheard:
			have[p.ID] = true
		default:
			missing, last = append(missing, p), max(last, heard)
		}
	}
	if len(missing) == 0 || quorum(a.view, a.dead, have) {
		return nil, 0
	}
	return missing, a.now - last
}

// A pause is what the node has said about being cut off.
type pause struct {
	began time.Time // zero: there is none
	alone time.Time // since then somebody was missing at every look
	epoch uint64    // of the view that waits for its successor
}

// look says that a pause has begun or ended, and ends the run if that is the
// policy.
func (p *pause) look(n *Node, a *agreement) {
	missing, ticks := a.stalled()
	if len(missing) == 0 || p.alone.IsZero() {
		p.alone = time.Now()
	}
	switch {
	case len(missing) == 0:
		if !p.began.IsZero() && a.view.Epoch > p.epoch && !a.excluded {
			n.notices.pause(false, "")
			n.log.Warn("the group is complete enough again, and goes on", zap.Duration("after a pause of", time.Since(p.began).Round(time.Millisecond)))
			p.began = time.Time{}
		}
	case p.began.IsZero():
		p.began, p.epoch = time.Now(), a.view.Epoch
		n.notices.pause(true, lacks(a.view, missing, time.Duration(ticks)*tickTime))
		n.log.Warn(describe(a.view, missing, time.Duration(ticks)*tickTime, n.policy))
	case n.policy.stop && time.Since(p.alone) > stopAfter:
		n.publish(View{}, fmt.Errorf("%w: %s", ErrPartitioned, lacks(a.view, missing, time.Duration(ticks)*tickTime)))
	}
}

// lacks says who is missing, and since when.
func lacks(v View, missing []Peer, silence time.Duration) string {
	names := make([]string, len(missing))
	for i, p := range missing {
		names[i] = fmt.Sprintf("%s (%s)", p.ID, p.Addr)
	}
	return fmt.Sprintf("no word since %s from %s, %d of the %d members of view %d, and no proof that they are dead",
		time.Now().Add(-silence).Format(time.TimeOnly), strings.Join(names, ", "), len(missing), len(v.members()), v.Epoch)
}

func describe(v View, missing []Peer, silence time.Duration, p policy) string {
	next := "this peer waits, and loses nothing. It goes on when they answer; " +
		"if they will not, end their processes or start their hosts again, or end this run"
	if p.stop {
		next = fmt.Sprintf("the run ends in %v unless they answer", stopAfter)
	}
	return lacks(v, missing, silence) + ": " + next
}
