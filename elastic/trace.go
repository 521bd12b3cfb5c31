package elastic

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// A Span is a time during which a peer was in one phase.
type Span struct {
	Phase Phase  `json:"phase"`
	Step  uint64 `json:"step"`  // committed before
	Begin int64  `json:"begin"` // nanoseconds since 1970, by the peer's clock
	End   int64  `json:"end"`
	Lost  int    `json:"lost,omitempty"` // spans before this one that came too fast
}

// watcherSpans is how many spans wait for somebody who reads them slowly.
const watcherSpans = 1 << 14

// A watcher hears of every span that ends.
type watcher struct {
	spans chan Span
	lost  int // guarded by meter.mu
}

func (m *meter) watch() *watcher {
	w := &watcher{spans: make(chan Span, watcherSpans)}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.watchers = append(m.watchers, w)
	return w
}

func (m *meter) unwatch(w *watcher) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, v := range m.watchers {
		if v == w {
			m.watchers = append(m.watchers[:i:i], m.watchers[i+1:]...)
			return
		}
	}
}

// tell passes on a span. It is called with m.mu held, and does not wait.
func (m *meter) tell(p Phase, begin, end time.Time) {
	for _, w := range m.watchers {
		s := Span{Phase: p, Step: m.steps, Begin: begin.UnixNano(), End: end.UnixNano(), Lost: w.lost}
		select {
		case w.spans <- s:
			w.lost = 0
		default:
			w.lost++
		}
	}
}

// flushTime is how often spans are sent that would otherwise wait for more.
const flushTime = 100 * time.Millisecond

// trace sends every span that ends, one JSON object a line, as long as somebody
// reads. It costs nothing while nobody does.
func (in *inspector) trace(w http.ResponseWriter, r *http.Request) {
	g := in.group.Load()
	if g == nil {
		http.Error(w, "this peer is joining", http.StatusServiceUnavailable)
		return
	}
	watch := g.meter.watch()
	defer g.meter.unwatch(watch)
	w.Header().Set("Content-Type", "application/x-ndjson")
	flow, enc := http.NewResponseController(w), json.NewEncoder(w)
	tick := time.NewTicker(flushTime)
	defer tick.Stop()
	if flow.Flush() != nil { // it has begun
		return
	}
	for {
		select {
		case s := <-watch.spans:
			if enc.Encode(s) != nil {
				return
			}
		case <-tick.C:
			if flow.Flush() != nil {
				return
			}
		case <-r.Context().Done():
			return
		}
	}
}

// clock says what time it is here, in nanoseconds since 1970.
func clock(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, time.Now().UnixNano()) }
