package elastic

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringrun/ringrun/allreduce"
)

const (
	watcherSpans = 32 << 10               // that wait for somebody who reads them slowly
	watcherWait  = 30 * time.Second       // for somebody to read what was recorded from the start
	flushTime    = 250 * time.Millisecond // how often spans are sent: each time a processor is taken from the program
	lastFlush    = 500 * time.Millisecond // for readers to take what came last
)

// A tracer passes on spans to those who watch. While nobody does, all it costs is
// to find that out.
type tracer struct {
	on      atomic.Bool // somebody watches
	base    time.Time   // the clock of a peer is this one, and does not jump
	begun   atomic.Int32
	buckets atomic.Int32 // all-reduces in the last step

	mu       sync.Mutex
	watchers []*watcher
	first    *watcher      // has recorded from the start, and waits for a reader
	ended    chan struct{} // closed when no span will follow
	readers  sync.WaitGroup
}

// A watcher keeps the spans that its reader has not taken yet.
type watcher struct {
	spans []mark
	lost  uint64
}

// A mark is a span as whoever works leaves it, in a few memory writes; the reader
// turns it into what travels.
type mark struct {
	Span
	bucket int // 0: the span has its name
}

func (m *mark) appendTo(b []byte) []byte {
	if m.bucket > 0 {
		m.Name = fmt.Sprintf("bucket %d", m.bucket-1)
	}
	return m.Span.AppendTo(b)
}

func newTracer() *tracer { return &tracer{base: time.Now(), ended: make(chan struct{})} }

// record begins before anybody reads, and stops if nobody comes.
func (t *tracer) record() {
	w := &watcher{}
	t.mu.Lock()
	t.first = w
	t.watchers = append(t.watchers, w)
	t.on.Store(true)
	t.mu.Unlock()
	time.AfterFunc(watcherWait, func() {
		t.mu.Lock()
		unread := t.first == w
		t.mu.Unlock()
		if unread {
			t.unwatch(w)
		}
	})
}

func (t *tracer) watch() *watcher {
	t.mu.Lock()
	defer t.mu.Unlock()
	if w := t.first; w != nil {
		t.first = nil
		return w
	}
	w := &watcher{}
	t.watchers = append(t.watchers, w)
	t.on.Store(true)
	return w
}

func (t *tracer) unwatch(w *watcher) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, v := range t.watchers {
		if v == w {
			t.watchers = append(t.watchers[:i:i], t.watchers[i+1:]...)
			break
		}
	}
	if t.first == w {
		t.first = nil
	}
	t.on.Store(len(t.watchers) > 0)
}

// stamp is the time by the clock of this peer.
func (t *tracer) stamp(at time.Time) int64 { return t.base.UnixNano() + int64(at.Sub(t.base)) }

// tell passes on a span. It does not wait.
func (t *tracer) tell(s Span, begin, end time.Time) { t.tellOf(0, s, begin, end) }

func (t *tracer) tellOf(bucket int, s Span, begin, end time.Time) {
	if !t.on.Load() {
		return
	}
	s.Begin, s.End = t.stamp(begin), t.stamp(end)
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, w := range t.watchers {
		if len(w.spans) >= watcherSpans {
			w.lost++
			continue
		}
		s.Lost, w.lost = w.lost, 0
		w.spans = append(w.spans, mark{s, bucket})
	}
}

// take returns what a watcher has, and leaves it spare memory.
func (t *tracer) take(w *watcher, spare []mark) []mark {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := w.spans
	w.spans = spare[:0]
	return all
}

// of returns what a communicator tells of its collectives. Those that reduce are
// counted in any case; tag is the number of one, and a bit.
func (t *tracer) of(epoch uint64, step func() uint64) *allreduce.Trace {
	return &allreduce.Trace{
		Begins: func(kind string) (tag uint64) {
			if kind == "all-reduce" {
				tag = uint64(t.begun.Add(1)) << 1
			}
			if !t.on.Load() {
				return 0
			}
			return tag | 1
		},
		Done: func(tag uint64, e allreduce.Event) {
			t.tellOf(int(tag>>1), Span{
				Track: Collectives, Name: e.Kind, Step: step(), Epoch: epoch,
				Seq: uint64(e.Seq), Bytes: uint64(e.Bytes), Algorithm: e.Algorithm.String(), Failed: e.Err != nil,
			}, e.Began, e.Ended)
		},
	}
}

// step begins to count buckets anew; done says whether the step was committed.
func (t *tracer) step(done bool) {
	n := t.begun.Swap(0)
	if done {
		t.buckets.Store(n)
	}
}

// end lets readers take the last spans.
func (t *tracer) end() {
	t.mu.Lock() // nobody enters any more
	close(t.ended)
	t.mu.Unlock()
	gone := make(chan struct{})
	go func() {
		t.readers.Wait()
		close(gone)
	}()
	late := time.NewTimer(lastFlush)
	defer late.Stop()
	select {
	case <-gone:
	case <-late.C:
	}
}

// enter counts a reader, unless no span will follow.
func (t *tracer) enter() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	select {
	case <-t.ended:
		return false
	default:
		t.readers.Add(1)
		return true
	}
}

// trace sends every span that ends, as long as somebody reads.
func (in *inspector) trace(w http.ResponseWriter, r *http.Request) {
	g := in.group.Load()
	if g == nil {
		http.Error(w, "this peer is joining", http.StatusServiceUnavailable)
		return
	}
	if !g.meter.trace.enter() {
		http.Error(w, "this peer has ended", http.StatusServiceUnavailable)
		return
	}
	defer g.meter.trace.readers.Done()
	w.Header().Set("Content-Type", SpanType)
	g.meter.trace.serve(r.Context(), w)
}

func (t *tracer) serve(ctx context.Context, to http.ResponseWriter) {
	w := t.watch()
	defer t.unwatch(w)
	flow := http.NewResponseController(to)
	tick := time.NewTicker(flushTime)
	defer tick.Stop()
	var spare []mark
	var b []byte
	for last := false; ; {
		spare, b = t.take(w, spare), b[:0]
		for i := range spare {
			b = spare[i].appendTo(b)
		}
		if _, err := to.Write(b); err != nil || flow.Flush() != nil || last {
			return
		}
		select {
		case <-tick.C:
		case <-t.ended:
			last = true
		case <-ctx.Done():
			return
		}
	}
}

// clock says what time it is here, in nanoseconds since 1970: by the clock of spans,
// if there is a group already.
func (in *inspector) clock(w http.ResponseWriter, _ *http.Request) {
	now := time.Now()
	if g := in.group.Load(); g != nil {
		fmt.Fprint(w, g.meter.trace.stamp(now))
		return
	}
	fmt.Fprint(w, now.UnixNano())
}
