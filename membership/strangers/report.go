package strangers

import (
	"fmt"
	"net/netip"
	"sync"
	"time"
)

const (
	// reportTime is the least time from one line to the next.
	reportTime = time.Minute
	// maxSources bounds those whose refusals are counted one by one.
	maxSources = 64
)

// reports counts refusals and reports them: the first at once, those that follow
// within a minute when that is over.
type reports struct {
	report func(line string)

	mu     sync.Mutex // guards the fields below
	closed bool
	timer  *time.Timer // runs while a line would come too early; nil: it would not
	counts map[netip.Prefix]*count
	others int // refusals of sources for which there was no room
}

type count struct {
	n   int
	why string // of the last
}

func newReports(report func(line string)) *reports {
	if report == nil {
		report = func(string) {}
	}
	return &reports{report: report, counts: map[netip.Prefix]*count{}}
}

func (r *reports) add(from netip.Prefix, why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch c := r.counts[from]; {
	case r.closed:
		return
	case c != nil:
		c.n++
		c.why = why
	case len(r.counts) < maxSources:
		r.counts[from] = &count{1, why}
	default:
		r.others++
	}
	if r.timer == nil {
		r.say()
		r.timer = time.AfterFunc(reportTime, r.lapse)
	}
}

// lapse says what has come together, or ends the wait.
func (r *reports) lapse() {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.closed:
	case len(r.counts) == 0:
		r.timer = nil
	default:
		r.say()
		r.timer.Reset(reportTime)
	}
}

// say reports all that was counted. It is called with r.mu held.
func (r *reports) say() {
	if len(r.counts) == 0 {
		return
	}
	var most netip.Prefix
	var top *count
	rest := r.others
	for from, c := range r.counts {
		rest += c.n
		if top == nil || c.n > top.n {
			most, top = from, c
		}
	}
	rest -= top.n
	line := fmt.Sprintf("refused %s from %s: %s", connections(top.n), place(most), top.why)
	if rest > 0 {
		line += fmt.Sprintf(" (and %s from elsewhere)", connections(rest))
	}
	clear(r.counts)
	r.others = 0
	r.report(line)
}

func connections(n int) string {
	if n == 1 {
		return "a connection"
	}
	return fmt.Sprint(n, " connections")
}

func place(from netip.Prefix) string {
	switch {
	case !from.IsValid():
		return "this host"
	case from.IsSingleIP():
		return from.Addr().String()
	}
	return from.String()
}

func (r *reports) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.timer != nil {
		r.timer.Stop()
	}
	if !r.closed {
		r.say()
	}
	r.closed = true
}
