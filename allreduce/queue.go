package allreduce

import "slices"

// segment is something to be sent: elements lo to hi of the vector, or body.
type segment struct {
	work   *Work
	step   int
	lo, hi int
	body   []byte // if it is not part of the vector as it lies in memory
	count  int    // of a gather: bytes in the whole blob
	last   bool   // of this work on this lane
	encode bool   // by the work's codec
	pooled bool   // body goes back to c.buffers
}

// push adds a segment to the queue: behind those of its own collective and of
// earlier ones, so that what was started first ends first. A segment that
// continues the one before is joined to it. It is called with c.mu held.
func (l *lane) push(s segment) {
	i := len(l.queue)
	for i > 0 && int32(l.queue[i-1].work.seq-s.work.seq) > 0 {
		i--
	}
	if i == 0 || !l.queue[i-1].join(s) {
		l.queue = slices.Insert(l.queue, i, s)
	}
	l.filled.Signal()
}

func (s *segment) join(t segment) bool {
	if s.work != t.work || s.step != t.step || s.hi != t.lo || s.body != nil || t.body != nil || t.lo == t.hi {
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
	for {
		s, ok := l.pop()
		if !ok {
			return
		}
		body := s.body
		if body == nil {
			body = s.work.write(&s)
		}
		if err := l.link.Send(s.work.header(s), body); err != nil {
			l.c.fail(codeFault, err)
			return
		}
		l.c.stats.sent.Add(uint64(len(body)))
		l.c.stats.sentFrames.Add(1)
		if s.pooled {
			l.c.buffers.put(body)
		}
		if s.last {
			l.c.finished(s.work)
		}
	}
}

// pop waits for a segment and takes as much of it as fits a frame.
func (l *lane) pop() (segment, bool) {
	c := l.c
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(l.queue) == 0 && len(l.urgent) == 0 && !c.over {
		l.filled.Wait()
	}
	if c.over {
		return segment{}, false
	}
	if len(l.urgent) > 0 {
		s := l.urgent[0]
		l.urgent = l.urgent[1:]
		return s, true
	}
	s := l.queue[0]
	if n := s.work.frame; s.body == nil && s.hi-s.lo > n {
		s.hi = s.lo + n
		s.last = false
		l.queue[0].lo = s.hi
		return s, true
	}
	l.queue = slices.Delete(l.queue, 0, 1)
	return s, true
}
