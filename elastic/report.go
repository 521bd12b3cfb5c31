package elastic

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"sync"

	"github.com/ringrun/ringrun/membership"
)

// A report tells a launcher what happens, one JSON object a line. A launcher
// that no longer reads does not matter.
type report struct {
	heard func(e event) // is told, too; may be nil

	mu sync.Mutex
	w  *json.Encoder

	box *recorder // hears it, too
}

type event struct {
	Event string   `json:"event"`
	ID    string   `json:"id"`
	Addr  string   `json:"addr,omitempty"`
	Epoch uint64   `json:"epoch,omitempty"`
	Rank  int      `json:"rank,omitempty"`
	Peers []string `json:"peers,omitempty"`
	Addrs []string `json:"addrs,omitempty"` // of the peers
	Steps uint64   `json:"steps,omitempty"`
	// Retries is how many steps this peer had to reduce again.
	Retries uint64 `json:"retries,omitempty"`
	Group   string `json:"group,omitempty"` // in which the run has ended; see membership.End
	// Late is set if this peer failed only to find the others again.
	Late bool `json:"late,omitempty"`
	// Final is set if another peer in its place would fail likewise.
	Final bool `json:"final,omitempty"`
	// Record is a line of the audit.
	Record *Record `json:"record,omitempty"`
	Error  string  `json:"error,omitempty"`
	For    string  `json:"for,omitempty"` // for whom a stalled step waits; their IDs are in Peers
	Slow   *Slow   `json:"slow,omitempty"`
	File   string  `json:"file,omitempty"` // a checkpoint

	// Of a step, see tell.
	Was   string `json:"was,omitempty"`
	Sum   string `json:"sum,omitempty"`
	Walk  int    `json:"walk,omitempty"`
	Count int    `json:"count,omitempty"`
	Taken []int  `json:"taken,omitempty"`
}

func newReport(w io.Writer) *report { return &report{w: json.NewEncoder(w)} }

func (r *report) send(e event) {
	r.box.heard(e)
	if r.heard != nil {
		r.heard(e)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	_ = r.w.Encode(e) // nobody reads any more: the run goes on
}

func (r *report) listening(id, addr string) { r.send(event{Event: "listening", ID: id, Addr: addr}) }

func (r *report) view(id string, v membership.View) {
	r.send(event{Event: "view", ID: id, Epoch: v.Epoch, Rank: v.Rank(id), Peers: ids(v), Addrs: addrs(v)})
}

// drained says that this peer has left between two steps, as it was asked to.
func (r *report) drained(id string, steps, retries uint64) {
	r.send(event{Event: "drained", ID: id, Steps: steps, Retries: retries})
}

// lingers says for whom the peers wait when all steps are done.
func (r *report) lingers(id string, steps uint64, who []string) {
	r.send(event{Event: "lingers", ID: id, Steps: steps, Peers: who})
}

// over says that the run has ended without this peer.
func (r *report) over(id string, steps uint64, e *membership.EndedError) {
	r.send(event{Event: "over", ID: id, Steps: steps, Epoch: e.Epoch, Error: e.Error()})
}

func (r *report) failed(id string, err error) {
	final := errors.Is(err, errTooFew) || errors.Is(err, ErrDiverged) || errors.Is(err, ErrGrace) || errors.As(err, new(misfit))
	r.send(event{Event: "failed", ID: id, Error: err.Error(), Final: final})
}

// ending says that somebody has asked this peer to end, or kills it.
func (r *report) ending(id string) { r.send(event{Event: "ending", ID: id}) }

func (r *report) late(id string, err error) {
	r.send(event{Event: "failed", ID: id, Error: err.Error(), Late: true})
}

func (r *report) restored(id, file string, steps uint64) {
	r.send(event{Event: "restored", ID: id, File: file, Steps: steps})
}

func ids(v membership.View) []string {
	out := make([]string, len(v.Peers))
	for i, p := range v.Peers {
		out[i] = p.ID
	}
	return out
}

// few says that a view has too few peers to train, and for how many it waits.
func (r *report) few(id string, v membership.View, want int) {
	r.send(event{Event: "few", ID: id, Epoch: v.Epoch, Peers: ids(v), Count: want})
}

func addrs(v membership.View) []string {
	out := make([]string, len(v.Peers))
	for i, p := range v.Peers {
		out[i] = p.Addr
	}
	return out
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.Read(b) // never fails: see its documentation
	return b
}

// stalled says for whom a step waits: their IDs, and what they do.
func (r *report) stalled(id string, steps uint64, who []string, what string) {
	r.send(event{Event: "stalled", ID: id, Steps: steps, Peers: who, For: what})
}

// broke says that a ring broke.
func (r *report) broke(id string, epoch uint64, why error) {
	r.send(event{Event: EventBroken, ID: id, Epoch: epoch, Error: errorText(why)})
}

// retried says that the step after so many is reduced again.
func (r *report) retried(id string, epoch, steps uint64, why error) {
	r.send(event{Event: EventRetry, ID: id, Epoch: epoch, Steps: steps, Error: errorText(why)})
}

// silent says that a peer has been given up, because nothing was heard of it.
func (r *report) silent(id, who, why string) {
	r.send(event{Event: "silent", ID: id, Peers: []string{who}, Error: why})
}

// slow says that a peer is slow, or has recovered.
func (r *report) slow(what, id string, steps uint64, s Slow) {
	r.send(event{Event: what, ID: id, Steps: steps, Slow: &s})
}

// diverged says who held other bits than the rest.
func (r *report) diverged(id string, steps uint64, e *DivergedError) {
	r.send(event{Event: "diverged", ID: id, Steps: steps, Peers: e.Peers, Error: e.Error()})
}

func (r *report) record(rec Record) { r.send(event{Event: "audit", Record: &rec}) }

// page says where those who watch the run find something.
func (r *report) page(what, id, url string) { r.send(event{Event: what, ID: id, Addr: url}) }
