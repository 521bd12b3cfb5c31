package allreduce

import (
	"slices"

	"github.com/ringrun/ringrun/ring"
)

// segment is something to be sent: elements lo to hi of the vector, or body.
type segment struct {
	work   *Work
	step   int
	lo, hi int
	body   []byte       // if it is not part of the vector as it lies in memory
	count  int          // of a gather: bytes in the whole blob
	last   bool         // of this work on this lane
	encode bool         // by the work's codec
	fresh  bool         // elements that nobody has merged anything with
	adopt  bool         // encoded, it is the result here too
	pooled bool         // body goes back to c.buffers
	header *ring.Header // of a message, which may belong to no work of this peer
}

// push adds a segment to the queue: behind those of its own collective and of
// earlier ones, so that what was started first ends first. A segment that
// continues the one before is joined to it. It is called with c.mu held.
func (l *lane) push(s segment) {
	i := len(l.queue)
	for s.header == nil && i > 0 && l.queue[i-1].after(s) {
		i--
	}
	if i == 0 || !l.queue[i-1].join(s) {
		l.queue = slices.Insert(l.queue, i, s)
	}
	if !l.c.helped || l.index > 0 {
		l.filled.Signal()
	}
}

// after reports whether s belongs to a later collective than t. Messages stay
// where they are.
func (s *segment) after(t segment) bool {
	return s.header == nil && int32(s.work.seq-t.work.seq) > 0
}

func (s *segment) join(t segment) bool {
	if s.work != t.work || s.step != t.step || s.hi != t.lo || s.body != nil || t.body != nil || t.lo == t.hi ||
		s.header != nil || t.header != nil {
		return false
	}
	s.hi, s.last = t.hi, t.last
	return true
}

// forward queues a segment.
func (l *lane) forward(s segment) {
	l.c.mu.Lock()
	defer l.c.mu.Unlock()
	l.push(s)
}

// send is the goroutine that empties the queue.
func (l *lane) send() {
	for sent := false; ; sent = true {
		s, ok := l.pop(sent)
		if !ok || !l.transmit(s) {
			return
		}
	}
}

// help sends one segment in place of the goroutine of send, if that has nothing
// to do, and leaves it the rest.
func (l *lane) help() {
	c := l.c
	defer c.running.Done()
	c.mu.Lock()
	idle := !l.sending && !c.over && len(l.queue) > 0 && len(l.urgent) == 0
	if !idle {
		l.filled.Signal()
		c.mu.Unlock()
		return
	}
	l.sending = true
	s := l.first()
	c.mu.Unlock()
	l.transmit(s)
	c.mu.Lock()
	l.sending = false
	if len(l.queue) > 0 || len(l.urgent) > 0 || c.over {
		l.filled.Signal()
	}
	c.mu.Unlock()
}

// transmit sends a segment and does what is due after that.
func (l *lane) transmit(s segment) bool {
	body := s.body
	if body == nil && s.header == nil {
		body = s.work.write(&s)
	}
	h := s.header
	if h == nil {
		made := s.work.header(s)
		h = &made
	}
	if err := l.link.Send(*h, body); err != nil {
		l.c.fail(codeFault, err)
		return false
	}
	l.c.stats.sent.Add(uint64(len(body)))
	l.c.stats.sentFrames.Add(1)
	if s.pooled {
		l.c.buffers.put(body)
	}
	if s.last {
		l.c.finished(s.work)
	}
	return true
}

// pop waits for a segment and for its turn, and takes as much of it as fits a
// frame. The turn is over with the next call.
func (l *lane) pop(sent bool) (segment, bool) {
	c := l.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if sent {
		l.sending = false
	}
	for (l.sending || len(l.queue) == 0 && len(l.urgent) == 0) && !c.over {
		l.filled.Wait()
	}
	if c.over {
		return segment{}, false
	}
	l.sending = true
	if len(l.urgent) > 0 {
		s := l.urgent[0]
		l.urgent = l.urgent[1:]
		return s, true
	}
	return l.first(), true
}

// first takes a frame from the head of the queue. It is called with c.mu held.
func (l *lane) first() segment {
	s := l.queue[0]
	if n := s.frame(); s.body == nil && s.header == nil && s.hi-s.lo > n {
		s.hi = s.lo + n
		s.last = false
		l.queue[0].lo = s.hi
		return s
	}
	l.queue = slices.Delete(l.queue, 0, 1)
	return s
}

func (s segment) frame() int {
	if s.work == nil {
		return 0
	}
	return s.work.frame
}
