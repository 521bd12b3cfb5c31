package autopsy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ringrun/ringrun/elastic/blackbox"
)

// A Line is one line of the timeline: what one or more peers noted.
type Line struct {
	Time   int64    `json:"time"`
	Peers  []string `json:"peers"`
	Text   string   `json:"text"`
	Weight int      `json:"weight"` // 3: a fault; 2: what came of it; 1: the rest of the story; 0: details
}

// timeline merges what all have noted with the faults. What several say of the same
// thing, at nearly the same time, is one line.
func (x *exam) timeline(r Report) []Line {
	var all []Line
	for _, f := range r.Faults {
		all = append(all, Line{f.Time, []string{f.Peer}, f.Text, 3})
	}
	for _, p := range x.procs {
		for _, e := range p.box.Events {
			text, weight := x.describe(e)
			all = append(all, Line{e.Time, []string{p.name}, text, weight})
		}
	}
	slices.SortStableFunc(all, func(a, b Line) int {
		return cmp.Or(cmp.Compare(a.Time, b.Time), cmp.Compare(b.Weight, a.Weight))
	})
	return together(all)
}

// together joins lines that say the same within a second.
func together(lines []Line) (out []Line) {
	newest := map[string]int{}
	for _, l := range lines {
		i, ok := newest[l.Text]
		if ok && l.Time-out[i].Time < int64(time.Second) && l.Weight == out[i].Weight {
			if !slices.Contains(out[i].Peers, l.Peers[0]) {
				out[i].Peers = append(out[i].Peers, l.Peers[0])
			}
			continue
		}
		newest[l.Text] = len(out)
		out = append(out, l)
	}
	return out
}

// Important leaves of a timeline what is needed to understand a fault: what weighs
// and, of the time around it, what leads there and comes of it.
func Important(lines []Line, f *Fault, most int) []Line {
	const around = int64(10 * time.Second)
	out := slices.DeleteFunc(slices.Clone(lines), func(l Line) bool {
		near := f != nil && l.Time > f.Time-around && l.Time < f.Time+around
		return l.Weight < 1 || l.Weight == 1 && !near
	})
	for weight := 1; len(out) > most && weight < 3; weight++ {
		out = slices.DeleteFunc(out, func(l Line) bool { return l.Weight == weight })
	}
	if len(out) > most {
		out = out[len(out)-most:]
	}
	return out
}

// describe says what an event means, and how much it weighs.
func (x *exam) describe(e blackbox.Event) (text string, weight int) {
	about := ""
	if e.Text != "" {
		about = ": " + x.called(e.Text)
	}
	switch e.Kind {
	case blackbox.Began:
		return "started" + about, 1
	case blackbox.Named:
		return "listens at " + e.Text, 1
	case blackbox.View:
		return fmt.Sprintf("view %d: %s", e.Epoch, x.names(e.Peers)), 2
	case blackbox.Wanted:
		return fmt.Sprintf("another view than %d is wanted%s", e.Epoch, about), 1
	case blackbox.Suspect:
		return x.nameOf(e.Peer) + " does not answer", 1
	case blackbox.Silent:
		return x.nameOf(e.Peer) + " is silent" + about, 2
	case blackbox.Dead:
		return x.nameOf(e.Peer) + " is proven dead", 2
	case blackbox.Proposed:
		return x.nameOf(e.Peer) + " proposes the next view", 0
	case blackbox.Excluded:
		return "learns that the others went on without it", 2
	case blackbox.Paused:
		return "waits" + about, 2
	case blackbox.Resumed:
		return "need not wait any more", 2
	case blackbox.RingOpen:
		return fmt.Sprintf("the ring of view %d stands", e.Epoch), 1
	case blackbox.RingFailed:
		return fmt.Sprintf("the ring of view %d does not open%s", e.Epoch, about), 2
	case blackbox.RingBroke:
		return fmt.Sprintf("the ring of view %d broke%s", e.Epoch, about), 2
	case blackbox.WentOn:
		return fmt.Sprintf("made step %d, the first of view %d", e.Step, e.Epoch), 2
	case blackbox.Retried:
		return fmt.Sprintf("reduces step %d again%s", e.Step, about), 1
	case blackbox.Stalled:
		return fmt.Sprintf("step %d waits for %s", e.Step+1, x.called(e.Text)), 2
	case blackbox.Lapse:
		return fmt.Sprintf("did not run for %v", short(time.Duration(e.Value))), 2
	case blackbox.Diverged:
		return "peers differ" + about, 2
	case blackbox.Checkpoint:
		if e.Text != "" {
			return fmt.Sprintf("no checkpoint after step %d%s", e.Step, about), 2
		}
		return fmt.Sprintf("checkpoint after step %d", e.Step), 1
	case blackbox.Draining:
		return "was asked to leave", 2
	case blackbox.Asked:
		return "was asked to end " + e.Text, 2
	case blackbox.Panicked:
		return "panicked" + about, 2
	case blackbox.Done:
		return fmt.Sprintf("done after step %d", e.Step), 1
	case blackbox.Drained:
		return fmt.Sprintf("left after step %d", e.Step), 1
	case blackbox.Over:
		return "came back" + about, 2
	case blackbox.Failed:
		return "ends with an error" + about, 2
	}
	return x.detail(e, about)
}

// detail describes what is noted all the time.
func (x *exam) detail(e blackbox.Event, about string) (text string, weight int) {
	switch e.Kind {
	case blackbox.Steps:
		return fmt.Sprintf("step %d", e.Step), 0
	case blackbox.Clock:
		return fmt.Sprintf("the clock of %s is %v ahead, give or take %v", x.nameOf(e.Peer), short(time.Duration(e.Value)), short(time.Duration(e.Slack))), 0
	case blackbox.Memory:
		return "has " + bytes(uint64(max(e.Value, 0))) + " of memory", 0
	}
	return strings.TrimPrefix(string(e.Kind)+about, "log: "), 0
}

func (x *exam) names(ids []string) string {
	var all []string
	for _, id := range ids {
		all = append(all, x.nameOf(id))
	}
	return strings.Join(all, " ")
}
