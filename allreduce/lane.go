package allreduce

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/ringrun/ringrun/ring"
)

// A lane moves segments over one lane of the ring. One goroutine receives and
// works on what arrives, another sends. Between them is a queue without a
// bound, so that receiving never waits for sending: a ring of windows that are
// all full empties again. The queue does not grow beyond what is received, which
// is at most the vectors in flight.
type lane struct {
	c      *Comm
	index  int
	stride int // how far the lane leads
	link   *ring.Lane
	polls  bool // link can be polled

	helm   sync.Mutex // held by whoever receives, if link is polled; see driver
	driver driver     // belongs to it, with what follows
	body   stream     // of the frame that is received
	idle   spin       //
	hand   *outgoing  // what the driver sends: nil or &frame
	frame  outgoing
	due    atomic.Bool   // there may be something to send for a driver
	behind atomic.Bool   // there is a backlog
	asleep atomic.Bool   // somebody waits on the link
	shifts atomic.Uint32 // moves on when a driver comes or goes; odd while there is one
	shift  uint32        // belongs to attend: shifts when it looked last
	roused chan struct{} // capacity 1: attend must not nap

	// Guarded by c.mu.
	entries map[uint32]*entry // collectives of which frames came or are expected
	queue   []segment         // to be sent; by collective, then as pushed
	sending bool              // somebody sends
	driven  bool              // a driver sends what is queued
	handed  *outgoing         // what a driver has left to the sending goroutine
	backlog []*entry          // for a driver to drain
	urgent  []segment         // to be sent before the queue
	filled  *sync.Cond        // queue is not empty, or c.over
	held    int               // bytes in early frames
	room    *sync.Cond        // see hold
	gone    error             // why nothing more will arrive
}

// entry is what a lane knows of one collective.
type entry struct {
	work     *Work // nil: not launched here
	flow     flow
	early    []early // frames that came before, in order
	draining bool    // a goroutine works on them; more may be added meanwhile
	over     bool    // the last frame is here; belongs to whoever takes frames
}

// A flow is the part of one collective that runs over one lane.
type flow interface {
	// open returns what can be sent before anything has arrived, or nothing.
	open() segment
	// take works on a frame, and reports whether it was the last one. It is
	// not called by two goroutines at the same time.
	take(h ring.Header, b body) (last bool, err error)
}

func newLane(c *Comm, index, stride int, link *ring.Lane) *lane {
	l := &lane{
		c:       c,
		index:   index,
		stride:  stride,
		link:    link,
		polls:   link.Pollable(),
		roused:  make(chan struct{}, 1),
		entries: make(map[uint32]*entry),
		filled:  sync.NewCond(&c.mu),
		room:    sync.NewCond(&c.mu),
	}
	l.body = stream{l, make([]byte, min(c.ring.FrameBytes(), scratchBytes))}
	return l
}

// previous returns the rank of the peer that sends to this one here.
func (l *lane) previous() int { return mod(l.c.rank-l.stride, l.c.size) }

// scratchBytes is how much is merged at a time; it should stay in cache.
const scratchBytes = 256 << 10

// launch begins the lane's part of a work. It is called with c.mu held.
func (l *lane) launch(w *Work) {
	e := l.entries[w.seq]
	switch {
	case w.uses(l):
		if e == nil {
			e = &entry{}
			l.entries[w.seq] = e
		}
		e.flow = w.flow(l)
		if s := e.flow.open(); s.work != nil {
			l.push(s)
		}
	case e == nil:
		return
	default: // frames came where none belong
		e.flow = stray{w}
	}
	e.work = w
	if len(e.early) > 0 || l.gone != nil {
		e.draining = true
		if l.driven {
			l.backlog = append(l.backlog, e)
			l.behind.Store(true)
		} else {
			l.c.running.Go(func() { l.drain(e) })
		}
	}
	l.room.Broadcast()
}

// stray is the flow of a lane that has no part in a work.
type stray struct{ w *Work }

func (stray) open() segment { panic("allreduce: stray flow opened") }

func (s stray) take(h ring.Header, _ body) (bool, error) {
	return false, fmt.Errorf("frame at %d on a lane that is not used", h.Offset)
}

// receive is the goroutine that takes what arrives.
func (l *lane) receive() {
	if l.polls {
		l.attend()
		return
	}
	for {
		h, err := l.link.Next()
		if err != nil {
			l.end(err)
			return
		}
		if !l.accept(h) {
			return
		}
	}
}

// accept works on a frame. It returns false if that breaks the ring.
func (l *lane) accept(h ring.Header) bool {
	l.c.stats.received.Add(uint64(h.Length))
	l.c.stats.receivedFrames.Add(1)
	err := l.dispatch(h)
	if err == nil {
		return true
	}
	if w := l.driver.work; w != nil {
		w.retire()
	}
	l.fault(h, err)
	return false
}

// dispatch gives a frame to its flow, or keeps it until there is one.
func (l *lane) dispatch(h ring.Header) error {
	if most := l.c.ring.FrameBytes(); int(h.Length) > most { // what is passed on must fit as well
		return fmt.Errorf("frame of %d bytes, want at most %d", h.Length, most)
	}
	switch Op(h.Op) {
	case notice:
		return l.c.hear(h, l)
	case message, grant:
		return l.carry(h)
	}
	e, live, err := l.find(h)
	if err != nil || e == nil {
		return err
	}
	if live {
		return l.take(e, h, &l.body)
	}
	b := l.c.buffers.get(int(h.Length))
	if _, err := io.ReadFull(l, b); err != nil {
		return err
	}
	if l.hold(e, early{h, b}) {
		return nil
	}
	return l.takeKept(e, early{h, b})
}

// find returns the entry of the frame's collective, and whether its flow can
// take the frame now. There is no entry while peers disagree: what still
// arrives then is dropped.
func (l *lane) find(h ring.Header) (e *entry, live bool, err error) {
	c := l.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.accuser < c.size {
		return nil, false, nil
	}
	e = l.entries[h.Seq]
	if e == nil && int32(h.Seq-c.launched) < 0 {
		w := c.works[h.Seq]
		if w == nil {
			w = c.board.find(h.Seq)
		}
		if w != nil {
			e = &entry{work: w, flow: stray{w}}
			return e, true, nil
		}
		return nil, false, errLate
	}
	if e == nil {
		e = &entry{}
		l.entries[h.Seq] = e
	}
	return e, e.work != nil && !e.draining, nil
}

// errLate is about a frame that no collective waits for.
var errLate = errors.New("frame of a collective that has ended")

// take checks that both peers mean the same collective and lets the flow work
// on the frame.
func (l *lane) take(e *entry, h ring.Header, b body) error {
	w := e.work
	if e.over { // one of those that were kept
		return errLate
	}
	if !w.agrees(h) {
		l.c.dispute(w, h, l.previous())
		return nil
	}
	last, err := e.flow.take(h, b)
	if err != nil {
		return err
	}
	if last {
		e.over = true
		l.c.mu.Lock()
		delete(l.entries, w.seq)
		l.c.mu.Unlock()
		l.c.finished(w)
		if w.algorithm.whole() && l.shifts.Load()%2 == 0 { // nobody drives
			runtime.Gosched() // to whoever waits for it, rather than wake a thread
		}
	}
	return nil
}

// end notes that nothing more will arrive. A peer that has left has sent all
// that it owed to works that it has finished; others cannot be finished any more.
func (l *lane) end(err error) {
	c := l.c
	c.mu.Lock()
	l.gone = err
	missed := false
	for _, e := range l.entries {
		missed = missed || e.work != nil && !e.draining
	}
	for _, w := range c.letters {
		missed = missed || w.note.awaits()
	}
	c.mu.Unlock()
	if missed {
		c.fail(codeFault, err)
	}
}

// fault breaks the ring because of a frame. If it is broken already, that was
// the reason.
func (l *lane) fault(h ring.Header, err error) {
	if why := l.c.ring.Err(); why != nil {
		return
	}
	l.c.fail(codeFault, fmt.Errorf("lane %d: collective %d, step %d from %s: %w",
		l.index, h.Seq, h.Step, l.c.peers[l.previous()], err))
}
