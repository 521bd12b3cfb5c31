package ring

import "io"

// What follows lets one goroutine work a lane in both directions without
// waiting, if its links can: see Pollable. It may be mixed with Send, Next and
// Read.

// Pollable reports whether the lane can be polled; else Poll, TryRead, Await,
// Begin and Push must not be called.
func (l *Lane) Pollable() bool { return l.next.poll != nil && l.prev.poll != nil }

// Poll is Next that does not wait. It returns false if no Data frame is here.
func (l *Lane) Poll() (Header, bool, error) {
	e := l.prev
	for {
		h, ok, err := e.poll.Poll()
		switch {
		case err != nil:
			return Header{}, false, e.lost(err)
		case !ok:
			return Header{}, false, nil
		}
		if err := e.admit(h); err != nil {
			return Header{}, false, err
		}
		if h.Kind == Data {
			return h, true, nil
		}
	}
}

// TryRead is Read that does not wait. It returns 0 and no error if nothing is
// here.
func (l *Lane) TryRead(p []byte) (int, error) {
	n, err := l.prev.poll.TryRead(p)
	if err != nil && err != io.EOF {
		err = l.prev.lost(err)
	}
	return n, err
}

// Await waits until Poll or TryRead has something to return, or an error. It
// reads nothing, so that another goroutine may poll meanwhile; and it may return
// too early. Who polls in vain must call it after a while: only while somebody
// waits here or in Next or Read is it noticed that the peer has fallen silent.
func (l *Lane) Await() error {
	e := l.prev
	if e.hasLeft() {
		return e.leftError()
	}
	e.pulse.Add(1)
	defer e.pulse.Add(1)
	if err := e.poll.Await(); err != nil {
		return e.lost(err)
	}
	return nil
}

// Begin starts to send a frame as Send does, unless somebody else sends: then it
// returns false. Nothing is sent before Push; who has begun must call that until
// the frame is sent, and keep body as it is.
func (l *Lane) Begin(h Header, body []byte) bool {
	select {
	case l.next.turn <- struct{}{}:
	default:
		return false
	}
	l.next.poll.Begin(l.complete(h, body), body)
	return true
}

// Push sends what the window takes of the frame that was begun, or if wait is
// set, all of it. It reports whether that was the rest.
func (l *Lane) Push(wait bool) (done bool, err error) {
	e := l.next
	done, err = e.poll.Push(wait)
	if !done && err == nil {
		return false, nil
	}
	<-e.turn
	e.sends.Add(1)
	if err != nil {
		return true, e.unsent(err)
	}
	return true, nil
}
