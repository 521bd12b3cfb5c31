package rtc

import (
	"sync"
	"time"
)

// Two things stop a sender: its flight, what it has given to SCTP and was not
// acknowledged, and its credit, what the reader at the other end has still to
// take.
//
// Credit is needed because the window of SCTP is better never closed: pion
// sends no update when a reader makes room, so the sender finds out by a probe a
// second later at best (the time doubles with each probe), and a message of
// which the last fragment found no room keeps it closed for ever. So frames
// are sent against credit, which the reader returns as it takes them, and the
// receive buffer of SCTP is larger than all the credit there is.
//
// The flight is limited because between near peers nothing else stops a sender
// that is faster than its receiver. All of it must fit the receiver's socket, or
// the tail is lost, and SCTP needs a second, its shortest timeout, to notice.
// Linux gives a socket 208 KiB by default. Between far peers packets come one
// by one, and the round trip asks for more.
const (
	creditBytes = 4 << 20
	returnBytes = creditBytes / 16 // what a reader takes before it returns the credit

	nearFlight = 192 << 10 // at least two messages and a half, see take
	farFlight  = 4 << 20
	farRTT     = 5 * time.Millisecond
	farRate    = 32 << 20 // bytes per second that one lane should be able to reach
)

// flightFor returns the limit of the flight for a round trip.
func flightFor(rtt time.Duration) int {
	if rtt < farRTT {
		return nearFlight
	}
	return nearFlight + int(min(rtt.Seconds()*farRate, farFlight-nearFlight))
}

// window makes a sender wait for credit, and for its flight.
type window struct {
	limit    int           // of the flight
	inFlight func() uint64 // when it falls to limit/2, landed is called

	mu     sync.Mutex
	cond   sync.Cond
	credit int
	err    error // the link has ended
}

func newWindow(limit int, inFlight func() uint64) *window {
	w := &window{limit: limit, inFlight: inFlight, credit: creditBytes}
	w.cond.L = &w.mu
	return w
}

// take waits until n bytes may be sent. If they do not fit the flight, it is
// above half its limit, because n is less than half; so landed will be called.
func (w *window) take(n int) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.err == nil && (w.credit < n || int(w.inFlight())+n > w.limit) {
		w.cond.Wait()
	}
	if w.err != nil {
		return w.err
	}
	w.credit -= n
	return nil
}

// landed wakes take.
func (w *window) landed() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cond.Broadcast()
}

// give returns n bytes of credit. It reports false if that is more than was taken.
func (w *window) give(n int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n > creditBytes-w.credit {
		return false
	}
	w.credit += n
	w.cond.Broadcast()
	return true
}

// end makes take return err, unless it has another already.
func (w *window) end(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = err
	}
	w.cond.Broadcast()
}

func (w *window) ended() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}
