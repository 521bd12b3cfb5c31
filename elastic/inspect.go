package elastic

import (
	"encoding/json"
	"net/http"
	"net/http/pprof"
	"os"
	"runtime"
	samples "runtime/metrics"
	"sync/atomic"
	"time"

	"github.com/ringrun/ringrun/elastic/blackbox"
	"github.com/ringrun/ringrun/elastic/metrics"
	"github.com/ringrun/ringrun/membership"
)

// Status is what a peer tells whoever asks how the run goes. Times are in
// seconds.
type Status struct {
	ID        string            `json:"id"`
	Host      string            `json:"host"`
	PID       int               `json:"pid"`
	Epoch     uint64            `json:"epoch"` // of the view; 0: there is none yet
	Rank      int               `json:"rank"`
	Peers     []StatusPeer      `json:"peers"` // of the view, in rank order
	Transport string            `json:"transport"`
	Codec     string            `json:"codec"`
	Steps     uint64            `json:"steps"` // committed
	StepTime  float64           `json:"step_time"`
	Phase     Phase             `json:"phase"`
	InPhase   float64           `json:"in_phase"`
	Bucket    int               `json:"bucket"`  // all-reduces begun in this step
	Buckets   int               `json:"buckets"` // in the step before
	Spent     map[Phase]float64 `json:"spent"`
	Sent      uint64            `json:"sent"` // bytes, in this view
	Received  uint64            `json:"received"`
	Uptime    float64           `json:"uptime"`
	Memory    uint64            `json:"memory"` // bytes that Go has from the system

	Pass     float64           `json:"pass"`            // what a pass computes
	Why      string            `json:"why,omitempty"`   // what may slow this peer down
	Slow     []Slow            `json:"slow,omitempty"`  // the peers of the view that are
	Heard    map[string]uint64 `json:"heard,omitempty"` // what neighbours have told last; see LastHeard
	Retries  uint64            `json:"retries"`
	Observed map[string]Number `json:"observed,omitempty"` // see Group.Observe
	Link     *StatusLink       `json:"link,omitempty"`
}

// StatusLink is what a link of the ring does, as rank 0 has measured it to choose
// algorithms: what a message takes, and how many bytes of a large vector it carries
// in a second. There is none where peers share memory.
type StatusLink struct {
	Latency   float64 `json:"latency"`
	Bandwidth float64 `json:"bandwidth"`
}

// LastHeard says what a word in Status.Heard means.
func LastHeard(word uint64) string { return parseDoing(word).String() }

// StatusPeer is one peer of the view.
type StatusPeer struct {
	ID   string `json:"id"`
	Addr string `json:"addr"`
}

// An inspector answers questions about this peer; see membership.ControlClient.
//
//	GET /status          a Status, as JSON
//	GET /glance          a Glance, as JSON
//	GET /metrics         what Prometheus wants
//	POST /drain          lets this peer leave between two steps
//	GET /stacks          what every goroutine does, as text
//	GET /output          what it has printed lately; ?follow=1: and what comes
//	GET /trace           every Span that ends; see SpanReader
//	GET /clock           what time it is here
//	POST /end            asks it to end, by SIGTERM; ?kill=1: kills it
//	POST /over           tells it that the run has ended: ?group=…&epoch=…&steps=…
//	GET /blackbox        its black box, and those of which it has copies, see Boxes
//	POST /blackbox       what is new in that of a neighbour
//	GET /debug/pprof/…   Go's profiles
type inspector struct {
	box     *recorder
	mux     *http.ServeMux
	metrics http.Handler
	group   atomic.Pointer[Group] // nil while the peer is joining
	began   time.Time
}

func newInspector() *inspector {
	in := &inspector{mux: http.NewServeMux(), began: time.Now()}
	in.metrics = metrics.Handler(in.reading)
	in.mux.HandleFunc("GET /status", in.status)
	in.mux.HandleFunc("GET /glance", in.glance)
	in.mux.Handle("GET /metrics", in.metrics)
	in.mux.HandleFunc("POST /drain", in.drain)
	in.mux.HandleFunc("GET /stacks", stacks)
	in.mux.HandleFunc("GET /output", output)
	in.mux.HandleFunc("GET /trace", in.trace)
	in.mux.HandleFunc("POST /end", in.end)
	in.mux.HandleFunc("POST /over", in.over)
	in.mux.HandleFunc("GET /clock", in.clock)
	in.mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	in.mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	in.mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return in
}

// ServeHTTP implements [http.Handler].
func (in *inspector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost && r.URL.Path == "/end" {
		in.box.note(blackbox.Event{Kind: blackbox.Asked, Text: "by ringrun stop"})
	}
	in.mux.ServeHTTP(w, r)
}

func (in *inspector) status(w http.ResponseWriter, _ *http.Request) {
	g := in.group.Load()
	if g == nil {
		http.Error(w, "this peer is joining", http.StatusServiceUnavailable)
		return
	}
	s := g.inspect()
	s.Uptime = time.Since(in.began).Seconds()
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(s) // whoever asked has gone
}

func (in *inspector) drain(w http.ResponseWriter, _ *http.Request) {
	g := in.group.Load()
	if g == nil {
		http.Error(w, "this peer is joining", http.StatusServiceUnavailable)
		return
	}
	g.Drain()
	w.WriteHeader(http.StatusAccepted)
}

func (g *Group) inspect() Status {
	r := g.meter.read()
	s := Status{
		ID: g.id(), PID: os.Getpid(), Rank: -1,
		Transport: g.cfg.Transport, Codec: g.cfg.Codec,
		Steps: r.steps, StepTime: r.pace,
		Bucket: r.bucket, Buckets: r.buckets, Pass: g.meter.pass().Seconds(), Slow: g.slowPeers(),
		Phase: r.phase, InPhase: time.Since(r.since).Seconds(), Spent: map[Phase]float64{},
	}
	s.Host, _ = os.Hostname()
	if why := g.vitals.reason(); why.cause != unknown {
		s.Why = why.String()
	}
	s.Retries, s.Observed = g.tally.told()
	for p, d := range r.spent {
		s.Spent[p] = d.Seconds()
	}
	if gen := g.current(); gen != nil {
		s.Epoch, s.Rank, s.Peers = gen.view.Epoch, gen.rank, statusPeers(gen.view)
		counts := gen.comm.Stats()
		s.Sent, s.Received = counts.Sent, counts.Received
		s.Heard = gen.comm.Heard()
		if k := gen.comm.Costs(); k != nil {
			latency, bandwidth := k.Link()
			s.Link = &StatusLink{latency.Seconds(), bandwidth}
		}
	}
	memory := []samples.Sample{{Name: "/memory/classes/total:bytes"}}
	samples.Read(memory)
	s.Memory = memory[0].Value.Uint64()
	return s
}

func statusPeers(v membership.View) []StatusPeer {
	peers := make([]StatusPeer, len(v.Peers))
	for i, p := range v.Peers {
		peers[i] = StatusPeer{p.ID, p.Addr}
	}
	return peers
}

func stacks(w http.ResponseWriter, _ *http.Request) {
	buf := make([]byte, 64<<10)
	for {
		n := runtime.Stack(buf, true)
		if n < len(buf) {
			_, _ = w.Write(buf[:n])
			return
		}
		buf = make([]byte, 2*len(buf))
	}
}
