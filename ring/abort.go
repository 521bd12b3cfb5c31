package ring

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// AbortError says which peer broke the ring, and why.
type AbortError struct {
	Peer string // who broke it
	Code uint8  // as given to Fail; 0 when a link failed
	Text string
	// About is the peer that fell silent; empty when that is not why.
	About string
}

func (e *AbortError) Error() string { return e.Peer + ": " + e.Text }

const (
	// maxText is the largest body of an Abort frame.
	maxText = 4096
	// farewell is the spell for which the last frame may wait for its turn. A
	// link that is stuck is closed then, and whoever sends on it wakes.
	farewell = 50 * time.Millisecond
)

// Fail breaks the ring and tells all peers why: the text travels all round in
// both directions, each peer passing it on before it closes its links. What
// code means is up to the caller; 0 is what the ring itself uses when a link
// fails. Fail returns when the links are closed. It has no effect on a ring
// that is broken already.
func (r *Ring) Fail(code uint8, text string) {
	r.abort(&AbortError{Peer: r.peers[r.rank], Code: code, Text: text})
	r.running.Wait()
	r.forget()
}

// fail breaks the ring because of something that this peer saw itself.
func (r *Ring) fail(why error) {
	self := r.peers[r.rank]
	h, text := abortFrame(r.rank, -1, &AbortError{Peer: self, Text: why.Error()})
	r.shut(fmt.Errorf("%w: epoch %d: %w", ErrBroken, r.epoch, why), h, text)
}

// abort breaks the ring for a reason given by this peer or by another.
func (r *Ring) abort(why *AbortError) {
	h, text := abortFrame(r.rankOf(why.Peer), slices.Index(r.peers, why.About), why)
	r.shut(fmt.Errorf("%w: epoch %d: %w", ErrBroken, r.epoch, why), h, text)
}

// In an Abort frame Root is the rank of the peer that broke the ring, Op is the
// code, Count is one more than the rank of the peer that fell silent, if one did,
// and the body is the text.
func abortFrame(rank, about int, why *AbortError) (Header, []byte) {
	text := why.Text
	if len(text) > maxText {
		text = text[:maxText]
	}
	text = strings.ToValidUTF8(text, "")
	return Header{Kind: Abort, Op: why.Code, Root: uint32(rank), Count: uint64(about + 1)}, []byte(text)
}

// aborted takes in an Abort frame, breaks the ring and so passes it on.
func (e *end) aborted(h Header) error {
	r := e.ring
	if int64(h.Root) >= int64(len(r.peers)) || h.Length > maxText {
		r.fail(fmt.Errorf("lane %d: %s says that rank %d of %d broke the ring, in %d bytes",
			e.lane, e.peer, h.Root, len(r.peers), h.Length))
		return r.Err()
	}
	text := make([]byte, h.Length)
	if _, err := io.ReadFull(readerFunc(e.link.Read), text); err != nil {
		return e.lost(err)
	}
	clean := strings.ToValidUTF8(string(text), "�")
	why := &AbortError{Peer: r.peers[h.Root], Code: h.Op, Text: clean}
	if n := h.Count; 0 < n && n <= uint64(len(r.peers)) {
		why.About = r.peers[n-1]
	}
	r.abort(why)
	return r.Err()
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func (r *Ring) rankOf(peer string) int {
	for i, p := range r.peers {
		if p == peer {
			return i
		}
	}
	panic(fmt.Sprintf("ring: %q is not among the peers %q", peer, r.peers))
}

// shut ends the ring, once: it notes why, and on every link sends a last frame
// and closes it. It does not wait.
func (r *Ring) shut(why error, last Header, body []byte) {
	if r.finish(why, last, body) {
		r.shutOthers(why, last)
	}
}

// finish does that but for the rings of groups, and reports whether it was the first.
func (r *Ring) finish(why error, last Header, body []byte) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return false
	}
	r.err = why
	close(r.done)
	last.Epoch, last.Length = r.epoch, uint32(len(body))
	for _, e := range r.ends {
		r.running.Go(func() { e.part(last, body) })
	}
	return true
}

// part sends the last frame and closes the link. The turn is never given back:
// nothing may follow. Whoever has it and does not get on, or has begun a frame
// and does something else, will find the link closed.
func (e *end) part(last Header, body []byte) {
	defer e.link.Close()
	patience := after(farewell, nil)
	defer patience.stop()
	if !e.take(patience.over) {
		return
	}
	stuck := after(farewell, func() { e.link.Close() })
	defer stuck.stop()
	e.link.Send(last, body) // its error changes nothing: the link closes in any case
}

// take takes the turn, and reports whether it got it before the wait was over. A
// turn that is free is taken in any case.
func (e *end) take(over <-chan struct{}) bool {
	select {
	case e.turn <- struct{}{}:
		return true
	case <-over:
	}
	select {
	case e.turn <- struct{}{}:
		return true
	default:
		return false
	}
}
