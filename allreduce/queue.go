package allreduce

import (
	"slices"

	"github.com/ringrun/ringrun/ring"
)

// segment is something to be sent: elements lo to hi of the vector, or body.
type segment struct {
	work   *Work
	step   int
	piece  int // of the step
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
		l.awaken()
	}
}

// awaken sees to it that what is queued is sent. It is called with c.mu held.
func (l *lane) awaken() {
	if l.driven {
		l.due.Store(true)
	} else {
		l.filled.Signal()
	}
}

// after reports whether s belongs to a later collective than t. Messages stay
// where they are.
func (s *segment) after(t segment) bool {
	return s.header == nil && int32(s.work.seq-t.work.seq) > 0
}

func (s *segment) join(t segment) bool {
	if s.work != t.work || s.step != t.step || s.piece != t.piece || s.hi != t.lo || s.body != nil || t.body != nil || t.lo == t.hi ||
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
		o, ok := l.pop(sent)
		if !ok || !l.transmit(o) {
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
	l.transmit(l.prepare(s))
	c.mu.Lock()
	l.sending = false
	if len(l.queue) > 0 || len(l.urgent) > 0 || c.over {
		l.filled.Signal()
	}
	c.mu.Unlock()
}

// An outgoing is a frame in the hands of whoever sends it.
type outgoing struct {
	segment
	head  ring.Header
	bytes []byte
	begun bool // on the lane
}

// prepare makes a frame of a segment.
func (l *lane) prepare(s segment) outgoing {
	body := s.body
	if body == nil && s.header == nil {
		body = s.work.write(&s)
	}
	o := outgoing{segment: s, bytes: body}
	if s.header != nil {
		o.head = *s.header
	} else {
		o.head = s.work.header(s)
	}
	return o
}

// transmit sends a frame and does what is due after that.
func (l *lane) transmit(o outgoing) bool {
	var err error
	if o.begun {
		_, err = l.link.Push(true)
	} else {
		err = l.link.Send(o.head, o.bytes)
	}
	if err != nil {
		l.c.fail(codeFault, err)
		return false
	}
	l.sent(o)
	return true
}

// sent does what is due when a frame has been sent.
func (l *lane) sent(o outgoing) {
	l.c.stats.sent.Add(uint64(len(o.bytes)))
	l.c.stats.sentFrames.Add(1)
	if o.pooled {
		l.c.buffers.put(o.bytes)
	}
	if o.last {
		l.c.finished(o.work)
	}
}

// pop waits for a segment and for its turn, and takes as much of it as fits a
// frame. The turn is over with the next call.
func (l *lane) pop(sent bool) (outgoing, bool) {
	c := l.c
	c.mu.Lock()
	if sent {
		l.sending = false
	}
	for l.handed == nil && (l.sending || len(l.queue) == 0 && len(l.urgent) == 0) && !c.over {
		l.filled.Wait()
	}
	if c.over {
		c.mu.Unlock()
		return outgoing{}, false
	}
	l.sending = true
	if o := l.handed; o != nil {
		l.handed = nil
		c.mu.Unlock()
		return *o, true
	}
	s := l.first()
	c.mu.Unlock()
	return l.prepare(s), true
}

// first takes what is to be sent next, no more than fits a frame. It is called
// with c.mu held.
func (l *lane) first() segment {
	if len(l.urgent) > 0 {
		s := l.urgent[0]
		l.urgent = l.urgent[1:]
		return s
	}
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

// pump sends, in the goroutine that drives, what the window takes of a frame. It
// returns false when the link is broken.
func (l *lane) pump() bool {
	if l.hand == nil && !l.due.Load() {
		return true
	}
	if l.hand == nil && !l.grasp() {
		return true
	}
	o := l.hand
	if !o.begun {
		if o.begun = l.link.Begin(o.head, o.bytes); !o.begun {
			return true // a heartbeat is being sent
		}
	}
	done, err := l.link.Push(false)
	if err != nil {
		l.hand = nil
		l.driver.work.retire()
		l.c.fail(codeFault, err)
		return false
	}
	if done {
		l.hand = nil
		l.sent(*o)
		l.c.mu.Lock()
		l.sending = false
		l.c.mu.Unlock()
	}
	return true
}

// grasp takes the next frame into the driver's hand.
func (l *lane) grasp() bool {
	c := l.c
	c.mu.Lock()
	if l.sending || c.over || len(l.queue) == 0 && len(l.urgent) == 0 {
		l.due.Store(false) // who sends goes on with the queue
		c.mu.Unlock()
		return false
	}
	l.sending = true
	s := l.first()
	c.mu.Unlock()
	l.frame = l.prepare(s)
	l.hand = &l.frame
	return true
}

// handOver leaves what is to be sent to the sending goroutine.
func (l *lane) handOver() {
	l.c.mu.Lock()
	defer l.c.mu.Unlock()
	if l.hand != nil {
		o := *l.hand
		l.handed, l.hand = &o, nil
	}
	l.driven = false
	for _, e := range l.backlog {
		l.c.running.Go(func() { l.drain(e) })
	}
	l.backlog = nil
	l.behind.Store(false)
	if l.handed != nil || len(l.queue) > 0 || len(l.urgent) > 0 || l.c.over {
		l.filled.Signal()
	}
}
