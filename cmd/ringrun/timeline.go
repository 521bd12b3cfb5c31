package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ringrun/ringrun/elastic"
)

// A timeline is a file in Chrome's Trace Event Format: an array of events, of
// which each line holds one. A peer is a process in it. In the first of its
// threads are the phases and what stands inside them, in the second changes of the
// view, in the others collectives, so many that none overlaps another.
type timeline struct {
	name  string
	limit int64 // bytes of a file; then the next begins, and the one before the last is lost
	began int64 // nanoseconds since 1970: zero in the file

	mu      sync.Mutex
	f       *os.File
	w       *bufio.Writer
	size    int64
	err     error // the first of writing
	line    []byte
	peers   []*tracedPeer
	spans   int
	lost    uint64
	pending map[collective][]part
	order   []collective // keys of pending, oldest first
}

// The threads of a peer.
const (
	phaseThread = iota
	viewThread
	wireThread // and those that follow
)

// A tracedPeer is one process of a timeline.
type tracedPeer struct {
	pid   int
	id    string
	names []string // of its threads
	until [wireThread]int64
	lanes []int64 // until when each of the threads for collectives is taken
}

// A collective is the same on all peers, each of which has a part in it.
type collective struct{ epoch, seq uint64 }

type part struct {
	peer *tracedPeer
	span elastic.Span
	came time.Time
}

func newTimeline(name string, limit int64, now time.Time) (*timeline, error) {
	t := &timeline{name: name, limit: limit, began: now.UnixNano(), pending: map[collective][]part{}}
	return t, t.open()
}

func (t *timeline) open() error {
	f, err := os.Create(t.name)
	if err != nil {
		return err
	}
	t.f, t.w, t.size = f, bufio.NewWriterSize(f, 64<<10), 0
	return nil
}

// peer returns the process for a new peer.
func (t *timeline) peer(id string) *tracedPeer {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := &tracedPeer{pid: len(t.peers), id: id, names: []string{"phases", "views"}}
	t.peers = append(t.peers, p)
	t.introduce(p)
	return p
}

// introduce says what a process and its threads are called.
func (t *timeline) introduce(p *tracedPeer) {
	t.meta("process_name", p.pid, 0, p.id)
	for tid, name := range p.names {
		t.meta("thread_name", p.pid, tid, name)
	}
}

func (t *timeline) meta(what string, pid, tid int, name string) {
	t.begin(what, "M", pid, tid)
	t.line = append(t.line, `,"args":{"name":`...)
	t.line = append(t.line, quoted(name)...)
	t.write("}}")
}

// add takes a span, by the clock of this host.
func (t *timeline) add(p *tracedPeer, s elastic.Span, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.spans++
	t.lost += s.Lost
	s.Begin, s.End = max(s.Begin-t.began, 0), max(s.End-t.began, 0)
	switch s.Track {
	case elastic.Phases:
		t.whole(p, phaseThread, "phase", s)
	case elastic.Views:
		t.whole(p, viewThread, "view", s)
	case elastic.Inside:
		t.event(p, phaseThread, "inside", s)
		t.write("}}")
	case elastic.Counts:
		t.begin("bytes per step", "C", p.pid, 0)
		t.line = append(t.line, `,"ts":`...)
		t.line = appendMicros(t.line, s.End)
		t.line = fmt.Appendf(t.line, `,"args":{"sent":%d,"received":%d`, s.Sent, s.Received)
		t.write("}}")
	case elastic.Collectives:
		t.hold(p, s, now)
	}
}

// whole writes a span of a thread in which they follow each other. When the clock
// of the peer was found to be a little other than before, they still do.
func (t *timeline) whole(p *tracedPeer, tid int, cat string, s elastic.Span) {
	s.Begin = max(s.Begin, p.until[tid])
	s.End = max(s.End, s.Begin)
	p.until[tid] = s.End
	t.event(p, tid, cat, s)
	t.write("}}")
}

// hold keeps a part of a collective until those of all peers are here.
func (t *timeline) hold(p *tracedPeer, s elastic.Span, now time.Time) {
	key := collective{s.Epoch, s.Seq}
	parts, known := t.pending[key]
	if !known {
		t.order = append(t.order, key)
	}
	t.pending[key] = append(parts, part{p, s, now})
	if len(t.order) > maxPending {
		t.release(t.order[0])
	}
}

const (
	maxPending  = 4096
	pendingTime = time.Second
)

// settle writes collectives that have parts of so many peers, or have waited for
// long, and lets all be seen that was written.
func (t *timeline) settle(peers int, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, key := range slices.Clone(t.order) {
		if parts := t.pending[key]; len(parts) >= peers || now.Sub(parts[0].came) > pendingTime {
			t.release(key)
		}
	}
	t.note(t.w.Flush())
}

// release writes a collective. Who has begun it last is the one for whom the
// others have waited.
func (t *timeline) release(key collective) {
	parts := t.pending[key]
	delete(t.pending, key)
	if i := slices.Index(t.order, key); i >= 0 {
		t.order = slices.Delete(t.order, i, i+1)
	}
	last := slices.MaxFunc(parts, func(a, b part) int { return int(a.span.Begin - b.span.Begin) })
	for _, p := range parts {
		t.event(p.peer, p.peer.lane(t, p.span), "collective", p.span)
		t.line = append(t.line, `,"bytes":`...)
		t.line = strconv.AppendUint(t.line, p.span.Bytes, 10)
		t.line = append(t.line, `,"algorithm":`...)
		t.line = append(t.line, quoted(p.span.Algorithm)...)
		t.line = append(t.line, `,"collective":`...)
		t.line = strconv.AppendUint(t.line, p.span.Seq, 10)
		if late := last.span.Begin - p.span.Begin; late > 0 {
			t.line = append(t.line, `,"waited for":`...)
			t.line = append(t.line, quoted(last.peer.id)...)
			t.line = append(t.line, `,"for µs":`...)
			t.line = appendMicros(t.line, late)
		}
		if p.span.Failed {
			t.line = append(t.line, `,"failed":true`...)
		}
		t.write("}}")
	}
}

// lane returns a thread in which nothing overlaps the span.
func (p *tracedPeer) lane(t *timeline, s elastic.Span) int {
	i := slices.IndexFunc(p.lanes, func(until int64) bool { return until <= s.Begin })
	if i < 0 {
		i = len(p.lanes)
		p.lanes = append(p.lanes, 0)
		name := fmt.Sprintf("collectives %d", i+1)
		p.names = append(p.names, name)
		t.meta("thread_name", p.pid, wireThread+i, name)
	}
	p.lanes[i] = s.End
	return wireThread + i
}

// event begins the line of a span; its arguments are still open.
func (t *timeline) event(p *tracedPeer, tid int, cat string, s elastic.Span) {
	t.begin(s.Name, "X", p.pid, tid)
	t.line = append(t.line, `,"cat":`...)
	t.line = append(t.line, quoted(cat)...)
	t.line = append(t.line, `,"ts":`...)
	t.line = appendMicros(t.line, s.Begin)
	t.line = append(t.line, `,"dur":`...)
	t.line = appendMicros(t.line, s.End-s.Begin)
	t.line = append(t.line, `,"args":{"step":`...)
	t.line = strconv.AppendUint(t.line, s.Step, 10)
	if s.Epoch > 0 {
		t.line = append(t.line, `,"epoch":`...)
		t.line = strconv.AppendUint(t.line, s.Epoch, 10)
	}
}

func (t *timeline) begin(name, ph string, pid, tid int) {
	t.line = append(t.line[:0], `{"name":`...)
	t.line = append(t.line, quoted(name)...)
	t.line = append(t.line, `,"ph":"`...)
	t.line = append(t.line, ph...)
	t.line = append(t.line, `","pid":`...)
	t.line = strconv.AppendInt(t.line, int64(pid), 10)
	t.line = append(t.line, `,"tid":`...)
	t.line = strconv.AppendInt(t.line, int64(tid), 10)
}

// write ends the line.
func (t *timeline) write(end string) {
	t.line = append(t.line, end...)
	sep := ",\n"
	if t.size == 0 {
		sep = "[\n"
	}
	_, err := t.w.WriteString(sep)
	t.note(err)
	_, err = t.w.Write(t.line)
	t.note(err)
	t.size += int64(len(sep) + len(t.line))
	if t.limit > 0 && t.size > t.limit {
		t.rotate()
	}
}

// rotate goes on with a new file.
func (t *timeline) rotate() {
	t.finish()
	t.note(os.Rename(t.name, t.older()))
	if err := t.open(); err != nil {
		t.note(err)
		t.f, t.w = nil, bufio.NewWriter(nowhere{})
	}
	t.size = 0
	line := t.line
	t.line = nil
	for _, p := range t.peers {
		t.introduce(p)
	}
	t.line = line
}

// older is "trace.1.json" for "trace.json".
func (t *timeline) older() string {
	ext := filepath.Ext(t.name)
	return strings.TrimSuffix(t.name, ext) + ".1" + ext
}

type nowhere struct{}

func (nowhere) Write(p []byte) (int, error) { return len(p), nil }

func (t *timeline) finish() {
	end := "\n]\n"
	if t.size == 0 {
		end = "[]\n"
	}
	_, err := t.w.WriteString(end)
	t.note(err)
	t.note(t.w.Flush())
	if t.f != nil {
		t.note(t.f.Close())
	}
}

// close writes what is left, and the end.
func (t *timeline) close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(t.order) > 0 {
		t.release(t.order[0])
	}
	t.finish()
	if t.err != nil {
		return fmt.Errorf("%s: %w", t.name, t.err)
	}
	return nil
}

func (t *timeline) note(err error) {
	if err != nil && t.err == nil && !errors.Is(err, os.ErrClosed) {
		t.err = err
	}
}

// appendMicros appends nanoseconds as microseconds.
func appendMicros(b []byte, ns int64) []byte {
	b = strconv.AppendInt(b, ns/1000, 10)
	frac := ns % 1000
	return append(b, '.', byte('0'+frac/100), byte('0'+frac/10%10), byte('0'+frac%10))
}

// quoted returns a JSON string.
func quoted(s string) []byte {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' || s[i] == '"' || s[i] == '\\' {
			b, err := json.Marshal(s)
			if err != nil {
				panic(err) // a string
			}
			return b
		}
	}
	return append(append(append(make([]byte, 0, len(s)+2), '"'), s...), '"')
}
