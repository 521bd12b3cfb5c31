package ring

import (
	"context"
	"fmt"
	"io"
	"sync/atomic"
	"time"
)

// Lane is one pair of links: to the next peer and from the previous one. Lanes
// are independent of each other.
//
// Any number of goroutines may send. One goroutine at a time may call Next and
// Read.
type Lane struct {
	next, prev *end
}

// Send transmits one Data frame to the next peer; it fills in Kind, Epoch and
// Length. It blocks while the window is full, and does not keep body. When the
// next peer has closed its ring, Send returns an error that wraps ErrBroken and
// says so, and the ring is not broken by that. A body larger than FrameBytes is
// a mistake of the caller, and panics.
func (l *Lane) Send(h Header, body []byte) error {
	return l.next.send(l.complete(h, body), body)
}

func (l *Lane) complete(h Header, body []byte) Header {
	r := l.next.ring
	if len(body) > r.frameBytes {
		panic(fmt.Sprintf("ring: body of %d bytes in a ring whose frames take %d", len(body), r.frameBytes))
	}
	h.Kind, h.Epoch, h.Length = Data, r.epoch, uint32(len(body))
	return h
}

// Next waits for the next Data frame from the previous peer and returns its
// header. What is left of the body of the frame before is skipped. When the
// previous peer has closed its ring, Next returns an error as Send does.
func (l *Lane) Next() (Header, error) { return l.prev.receive() }

// Read reads from the body of the frame that Next returned, as an io.Reader
// does: it returns what is there, and io.EOF at the end of the body.
func (l *Lane) Read(p []byte) (int, error) {
	e := l.prev
	e.pulse.Add(1)
	n, err := e.link.Read(p)
	e.pulse.Add(1)
	if err != nil && err != io.EOF {
		err = e.lost(err)
	}
	return n, err
}

// An end is this peer's end of one link.
type end struct {
	ring *Ring
	peer string // the other end
	lane int
	link Link     // set before the end is in ring.ends
	poll Pollable // the link, if it is one

	dialed bool // by this peer, which sends its data there
	rarely bool // heartbeats are rarer

	// turn holds a token while somebody sends. It is a channel because nobody
	// may wait for it longer than the ring lives.
	turn chan struct{}
	left chan struct{} // closed when the peer has said Bye
	dead atomic.Bool   // reading has failed

	// pulse is odd while a goroutine waits for the peer in Next or Read, and
	// moves on with every sign of life that arrives there.
	pulse atomic.Uint32
	sends atomic.Uint32 // frames sent
	count beats         // belongs to ring.watch
	heard atomic.Uint64 // see hear
}

func newEnd(r *Ring, peer string, lane int) *end {
	return &end{ring: r, peer: peer, lane: lane, turn: make(chan struct{}, 1), left: make(chan struct{})}
}

// open completes the end with a link. Heartbeats begin at once: the peer may
// have all its links long before we have ours.
func (e *end) open(ctx context.Context, verb string, f func(context.Context, Edge) (Link, error)) {
	r := e.ring
	link, err := f(ctx, Edge{Self: r.peers[r.rank], Peer: e.peer, Epoch: r.epoch, Lane: r.seats + e.lane})
	if err != nil {
		r.fail(fmt.Errorf("%s %s, lane %d: %w", verb, e.peer, e.lane, err))
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		link.Close()
		return
	}
	e.link = link
	e.poll, _ = link.(Pollable)
	r.ends = append(r.ends, e)
	if e.dialed {
		r.running.Go(e.listen)
	}
}

func (e *end) send(h Header, body []byte) error {
	select {
	case e.turn <- struct{}{}:
	default:
		select {
		case e.turn <- struct{}{}:
		case <-e.left:
			return e.leftError()
		case <-e.ring.done:
			return e.ring.Err()
		}
	}
	err := e.link.Send(h, body)
	<-e.turn
	e.sends.Add(1)
	if err != nil {
		return e.unsent(err)
	}
	return nil
}

// receive returns the next Data header and deals with all other frames.
func (e *end) receive() (Header, error) {
	if e.hasLeft() {
		return Header{}, e.leftError()
	}
	e.pulse.Add(1)
	defer e.pulse.Add(1)
	for {
		h, err := e.link.Next()
		if err != nil {
			return Header{}, e.lost(err)
		}
		e.pulse.Add(2)
		if err := e.admit(h); err != nil {
			return Header{}, err
		}
		if h.Kind == Data {
			return h, nil
		}
	}
}

// admit deals with a frame that is not for the user of the lane.
func (e *end) admit(h Header) error {
	if h.Epoch != e.ring.epoch {
		e.ring.fail(fmt.Errorf("lane %d: frame of epoch %d from %s", e.lane, h.Epoch, e.peer))
		return e.ring.Err()
	}
	switch h.Kind {
	case Alive:
		e.hear(h.Count)
	case Abort:
		return e.aborted(h)
	case Bye: // nothing that we send is read any more
		if !e.hasLeft() { // twice: of a peer that is not ours
			close(e.left)
		}
		e.link.Close()
		return e.leftError()
	}
	return nil
}

// listen reads what the next peer sends backward, so that its death is seen at
// once, also while nothing is sent.
func (e *end) listen() {
	if h, err := e.receive(); err == nil {
		e.ring.fail(fmt.Errorf("lane %d: %s sent data backward, seq %d", e.lane, e.peer, h.Seq))
	}
}

func (e *end) hasLeft() bool {
	select {
	case <-e.left:
		return true
	default:
		return false
	}
}

func (e *end) leftError() error {
	if err := e.ring.Err(); err != nil {
		return err
	}
	return fmt.Errorf("%w: epoch %d: %s has left", ErrBroken, e.ring.epoch, e.peer)
}

// patience is the spell for which a lost link waits for a better reason: the
// peer tells why on all links before it closes the first.
const patience = 30 * time.Millisecond

// lost breaks the ring because reading failed, and returns why it is broken.
func (e *end) lost(err error) error {
	e.dead.Store(true)
	if !e.ring.allDead(e.peer) {
		e.await()
	}
	return e.broken(err)
}

// unsent breaks the ring because sending failed. Whoever reads from the same
// link knows more: the peer may have said Bye, or why it broke the ring.
func (e *end) unsent(err error) error {
	e.await()
	return e.broken(err)
}

func (e *end) await() {
	t := after(patience, nil)
	defer t.stop()
	select {
	case <-e.ring.done:
	case <-e.left:
	case <-t.over:
	}
}

func (e *end) broken(err error) error {
	if e.hasLeft() {
		return e.leftError()
	}
	e.ring.fail(fmt.Errorf("lane %d: link to %s: %w", e.lane, e.peer, err))
	return e.ring.Err()
}

// allDead reports whether no link to the peer can be read any more.
func (r *Ring) allDead(peer string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.ends {
		if e.peer == peer && !e.dead.Load() {
			return false
		}
	}
	return true
}
