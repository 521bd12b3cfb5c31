package elastic

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/ringrun/ringrun/elastic/metrics"
)

// maxObserved is how many names a program may observe: each is a chart, and a
// series that somebody keeps.
const maxObserved = 16

// Observe tells those who watch the run the newest value of something that the
// program knows, such as its loss: ringrun ui draws it, and Prometheus gets it as
// ringrun_observed. It costs next to nothing, so it may be called after each step.
// Of more than 16 names the later ones are dropped. It may be called from any
// goroutine.
func (g *Group) Observe(name string, value float64) {
	name = strings.ToValidUTF8(name, "\uFFFD") // Prometheus' package would panic
	t := g.tally
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, known := t.observed[name]; known || len(t.observed) < maxObserved {
		t.observed[name] = value
	}
}

// A Glance is what a peer tells those who watch it: how it is, and what happened
// since they looked last.
type Glance struct {
	Now    int64   `json:"now"` // milliseconds since 1970, by the peer's clock
	Status Status  `json:"status"`
	Ended  bool    `json:"ended"` // the run is over
	Last   uint64  `json:"last"`  // number of the last event
	Events []Event `json:"events"`
	Points []Point `json:"points"`
}

// glance serves a Glance: with ?events=N&points=MS, the events after that number
// and the points after that time; without points there are none.
func (in *inspector) glance(w http.ResponseWriter, r *http.Request) {
	g := in.group.Load()
	if g == nil {
		http.Error(w, "this peer is joining", http.StatusServiceUnavailable)
		return
	}
	events, _ := strconv.ParseUint(r.FormValue("events"), 10, 64) // 0: all
	s := g.inspect()
	s.Uptime = time.Since(in.began).Seconds()
	now := time.Now()
	t := g.tally
	out := Glance{Now: now.UnixMilli(), Status: s, Ended: g.over()}
	t.mu.Lock()
	t.history.look(now, time.Duration(s.StepTime*float64(time.Second)), t)
	out.Events, out.Last = t.diary.after(events), t.diary.number
	if ms, err := strconv.ParseInt(r.FormValue("points"), 10, 64); err == nil {
		out.Points = t.history.after(ms)
	}
	t.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(out) // whoever asked has gone
}

// reading returns what Prometheus is told, as soon as there is a group.
func (in *inspector) reading() (metrics.Reading, bool) {
	g := in.group.Load()
	if g == nil {
		return metrics.Reading{}, false
	}
	return g.reading(), true
}

// told returns what a Status has of the tally.
func (t *tally) told() (retries uint64, observed map[string]Number) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.retries, numbers(t.observed)
}
