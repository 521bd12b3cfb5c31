package elastic

import (
	"fmt"
	"slices"
	"time"
)

// Kinds of Event.
const (
	EventView       = "view"       // Epoch, Peers, Joined, Lost, Left: the peers form a ring
	EventBroken     = "broken"     // Epoch, Text: a ring broke
	EventRetry      = "retry"      // Step: it is reduced again
	EventStalled    = "stalled"    // Step, Peers, Text: for whom it waits
	EventSilent     = "silent"     // Peers, Text: who was given up, since nothing was heard of it
	EventFew        = "few"        // Epoch, Peers, Text: the run waits for more
	EventSlow       = "slow"       // Step, Peers, Text: a peer computes slower than the others
	EventRecovered  = "recovered"  // Step, Peers: and no longer does
	EventCheckpoint = "checkpoint" // Step, Text: the file
	EventRestored   = "restored"   // Step, Text: the file
	EventDiverged   = "diverged"   // Step, Peers, Text: who held other bits
	EventDrained    = "drained"    // Step: this peer has left between two steps
)

// An Event is one change of the group, as a peer saw it.
type Event struct {
	Number uint64   `json:"number"` // counts those of one peer, from 1
	Time   int64    `json:"time"`   // milliseconds since 1970, by the peer's clock
	Kind   string   `json:"kind"`
	Epoch  uint64   `json:"epoch,omitempty"`
	Step   uint64   `json:"step,omitempty"` // committed before
	Was    []string `json:"was,omitempty"`  // the peers of the view before
	Peers  []string `json:"peers,omitempty"`
	Joined []string `json:"joined,omitempty"`
	Lost   []string `json:"lost,omitempty"`
	Left   []string `json:"left,omitempty"` // after they had said so
	Text   string   `json:"text,omitempty"`
}

// compare says how the peers of an event differ from those before.
func (e *Event) compare(was, leaving []string) {
	e.Was = was
	for _, id := range was {
		switch {
		case slices.Contains(e.Peers, id):
		case slices.Contains(leaving, id):
			e.Left = append(e.Left, id)
		default:
			e.Lost = append(e.Lost, id)
		}
	}
	for _, id := range e.Peers {
		if !slices.Contains(was, id) {
			e.Joined = append(e.Joined, id)
		}
	}
}

// diarySize is how many events a peer remembers.
const diarySize = 256

// A diary holds the last events.
type diary struct {
	events []Event
	number uint64
}

func (d *diary) add(e Event) {
	d.number++
	e.Number, e.Time = d.number, time.Now().UnixMilli()
	if len(d.events) == diarySize {
		d.events = slices.Delete(d.events, 0, 1)
	}
	d.events = append(d.events, e)
}

// after returns the events that follow the one of a number.
func (d *diary) after(number uint64) []Event {
	i, _ := slices.BinarySearchFunc(d.events, number+1, func(e Event, n uint64) int { return int(int64(e.Number) - int64(n)) })
	return slices.Clone(d.events[i:])
}

// heard notes what a launcher is told, if watchers do not learn it otherwise.
func (t *tally) heard(e event) {
	note := Event{Kind: e.Event, Epoch: e.Epoch, Step: e.Steps, Peers: e.Peers, Text: e.For + e.File + e.Error}
	switch e.Event {
	case EventStalled, EventRestored, EventDiverged, EventDrained, EventSilent, EventBroken, EventRetry:
	case EventFew:
		note.Text = fmt.Sprintf("at least %d are needed", e.Count)
	case EventSlow:
		note.Peers, note.Text = []string{e.Slow.ID}, e.Slow.String()
	case EventRecovered:
		note.Peers = []string{e.Slow.ID}
	default:
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch e.Event {
	case EventBroken:
		t.breaks++
	case EventRetry:
		t.retries++
	}
	t.diary.add(note)
}
