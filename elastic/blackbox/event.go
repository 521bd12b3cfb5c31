// Package blackbox keeps what befell a peer in its last minutes, in a file that
// outlives the process however that ends.
//
// A [Box] is a ring of events in a mapped file: what is in it is the kernel's, so
// SIGKILL does not lose it. A [Gauge] beside it says what the peer does now. What
// a host takes with it when it goes, a neighbour has: each peer keeps a box for
// another one, too. [ReadFolder] reads what is left.
//
// Boxes hold names, addresses, numbers and messages of the group; no secrets, and
// nothing of what is trained on.
package blackbox

// A Kind says what an event is. Events of kinds that a reader does not know are
// as good as Log.
type Kind string

const (
	Began      Kind = "began"      // this process is a peer; Text says of what
	Named      Kind = "named"      // it is now Peer, at Text: it has joined again
	View       Kind = "view"       // Epoch begins, its peers are in Peers
	Wanted     Kind = "wanted"     // a change of view is; Text says why
	Suspect    Kind = "suspect"    // Peer, who does not answer
	Dead       Kind = "dead"       // Peer, proven
	Proposed   Kind = "proposed"   // Epoch, by Peer
	Excluded   Kind = "excluded"   // the others went on without us
	Paused     Kind = "paused"     // we may not go on: too many are silent; Text
	Resumed    Kind = "resumed"    // after Value ns
	RingOpen   Kind = "ring"       // of Epoch stands
	RingFailed Kind = "no ring"    // of Epoch; Text says why
	RingBroke  Kind = "broke"      // the ring of Epoch; Text says why
	WentOn     Kind = "went on"    // the first Step of Epoch is committed
	Retried    Kind = "retried"    // Step is reduced again, because of Text
	Steps      Kind = "steps"      // Step is committed: now and then
	Stalled    Kind = "stalled"    // Step waits for Text
	Lapse      Kind = "lapse"      // this process did not run for Value ns
	Diverged   Kind = "diverged"   // Peers hold other bits after Step; Text
	Checkpoint Kind = "checkpoint" // of Step is written, or not: then Text says why
	Draining   Kind = "draining"   // this peer is asked to leave
	Asked      Kind = "asked"      // …to end; Text says by what
	Silent     Kind = "silent"     // Peer; Text says since when
	Clock      Kind = "clock"      // Peer's is ahead of ours by Value ns, give or take Slack
	Memory     Kind = "memory"     // of this process, Value bytes
	Panicked   Kind = "panic"      // with Text, in the goroutine that trains
	Log        Kind = "log"        // a line of the log

	// The last event of a box whose peer has ended by itself.
	Done    Kind = "done"
	Drained Kind = "drained"
	Over    Kind = "over"   // it came back when the run had ended
	Failed  Kind = "failed" // Text says why
)

// An Event is one entry of a box.
type Event struct {
	Seq   uint64   `json:"q"` // counts the events of a box, from 1
	Time  int64    `json:"t"` // nanoseconds since 1970, by the clock of the peer
	Kind  Kind     `json:"k"`
	Peer  string   `json:"p,omitempty"`
	Epoch uint64   `json:"e,omitempty"`
	Step  uint64   `json:"s,omitempty"`
	Value int64    `json:"v,omitempty"`
	Slack int64    `json:"d,omitempty"`
	Peers []string `json:"ps,omitempty"`
	Text  string   `json:"x,omitempty"`
}

// maxText bounds the texts of an event, maxPeers its list.
const (
	maxText  = 400
	maxPeers = 40
)

// cut makes an event small enough for a record.
func (e Event) cut() Event {
	e.Text, e.Peer = shorten(e.Text, maxText), shorten(e.Peer, maxText)
	if len(e.Peers) > maxPeers {
		e.Peers = e.Peers[:maxPeers]
	}
	for i, p := range e.Peers {
		if len(p) > maxText/4 {
			e.Peers = append([]string(nil), e.Peers...)
			e.Peers[i] = shorten(p, maxText/4)
		}
	}
	return e
}

func shorten(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return s[:most] + "…"
}

// A Header says whose box it is.
type Header struct {
	Run    string `json:"run"`
	ID     string `json:"id"`     // the first one, see Named
	Host   string `json:"host"`   // its name
	Boot   string `json:"boot"`   // names this start of its kernel, and so its clock
	PID    int    `json:"pid"`    // in its own namespace
	Start  uint64 `json:"start"`  // of the process, in the kernel's ticks: with PID, it names it
	Began  int64  `json:"began"`  // by the peer's clock
	Limit  uint64 `json:"limit"`  // bytes of memory that it may have; 0: not known
	Silent int64  `json:"silent"` // ns after which a neighbour is lost
	Keeper string `json:"keeper"` // the peer that keeps this copy; empty in the original
}

// A Gauge says what a peer does at a moment.
type Gauge struct {
	Turn    uint64 `json:"turn"`  // counts the readings
	Time    int64  `json:"time"`  // of the last sign of life, by the peer's clock
	Since   int64  `json:"since"` // …in this Phase
	Phase   string `json:"phase"`
	Step    uint64 `json:"step"` // committed
	Epoch   uint64 `json:"epoch"`
	Memory  uint64 `json:"memory"`  // bytes in use
	Bucket  uint32 `json:"bucket"`  // all-reduces begun in this step
	Buckets uint32 `json:"buckets"` // in the step before; 0: not known
}
