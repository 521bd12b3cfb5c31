package shm

import (
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// life is what the ends of a link know of each other's existence. The link's
// watcher changes it once.
type life struct {
	ended atomic.Bool
	over  chan struct{} // closed after ended is set
}

// errEnded: nothing more will come, because either end has closed the link.
var errEnded = errors.New("the link has ended")

// errCursor: the memory of the other end says what cannot be.
var errCursor = errors.New("shm: the peer's cursor is out of bounds")

// A waiter waits until a word of the other end has reached a number. It looks
// again and again for a while, because what is on its way arrives within
// microseconds; then lets other processes run, because the one waited for may
// need this processor; then dozes on a futex, from which the other end wakes us
// fastest; then sleeps in a Go channel, which takes neither a thread nor a
// processor from other goroutines, until the other end rings.
type waiter struct {
	life   *life
	word   *atomic.Uint64 // theirs
	asleep *atomic.Uint64 // ours: not 0 while we doze or sleep, and different every time
	bell   chan struct{}  // capacity 1: the other end has rung
	seen   uint64         // what word was last
	nights uint64         // how often we have dozed or slept
	doze   time.Duration  // how long to doze before we sleep
	temper
}

// temper is how long looking again and again has paid so far.
type temper struct {
	spin  time.Duration
	crowd int // so many waits to come leave the processor at once
}

// begin returns how long to look before the processor is offered to others.
func (t *temper) begin() time.Duration {
	if t.crowd > 0 {
		t.crowd--
		return 0
	}
	return t.spin
}

// learn takes in how long a wait has lasted.
func (t *temper) learn(waited time.Duration) {
	if waited <= maxSpin { // looking would have been enough
		t.spin = min(2*t.spin, maxSpin)
	} else {
		t.spin = max(t.spin/2, minSpin)
	}
}

func newWaiter(l *life, word, asleep *atomic.Uint64) waiter {
	w := waiter{life: l, word: word, asleep: asleep, bell: make(chan struct{}, 1), doze: dozeTime, temper: temper{spin: maxSpin}}
	if runtime.GOMAXPROCS(0) == 1 {
		w.doze = 0 // who dozes keeps others of our goroutines from running for a while
	}
	return w
}

const (
	maxSpin = 20 * time.Microsecond
	minSpin = 500 * time.Nanosecond
	// yieldTime is how long a processor is offered to others before we sleep.
	yieldTime = 2 * maxSpin
	// dozeTime is so short that the end of a link need not wake who dozes.
	dozeTime = 200 * time.Microsecond
	// away is how long an offer takes if somebody takes it.
	away = 5 * time.Microsecond
	// crowded is how many waits do not spin after that.
	crowded = 64
)

// look reports whether the word has reached target. It may not be beyond limit,
// nor go back.
func (w *waiter) look(target, limit uint64) (bool, error) {
	v := w.word.Load()
	if v < w.seen || v > limit {
		return false, fmt.Errorf("%w: %d, want %d to %d", errCursor, v, w.seen, limit)
	}
	w.seen = v
	if v < target {
		return false, nil
	}
	received()
	return true, nil
}

// until waits until the word has reached target. What the other end has done
// before the link ended still counts.
func (w *waiter) until(target, limit uint64) error {
	begin := time.Now()
	err := w.attempt(target, limit, begin)
	w.learn(time.Since(begin))
	return err
}

func (w *waiter) attempt(target, limit uint64, begin time.Time) error {
	spin := w.temper.begin()
	for {
		ended := w.life.ended.Load() // before the look: see until
		if ok, err := w.look(target, limit); ok || err != nil {
			return err
		}
		if ended {
			return errEnded
		}
		switch waited := time.Since(begin); {
		case waited < spin:
			pause(pauses)
		case waited < spin+yieldTime:
			w.yield()
		case waited < spin+yieldTime+w.doze:
			w.lie(target, dozes, w.nap)
		default:
			w.lie(target, sleeps, w.rest)
		}
	}
}

// pauses is how many times a processor pauses between two looks: some hundred
// nanoseconds.
const pauses = 8

// yield offers the processor to our own goroutines and to other processes.
func (t *temper) yield() {
	runtime.Gosched()
	begin := time.Now()
	unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0)
	if time.Since(begin) > away {
		t.crowd = crowded
	}
}

// How we lie, in the lowest bit of asleep: the other end wakes us accordingly.
const (
	sleeps = 0
	dozes  = 1
)

// lie says that we doze or sleep, looks once more, and does so. The other end
// moves the word and then looks whether we sleep; so one of the two sees the
// other.
func (w *waiter) lie(target, how uint64, down func(seen uint64)) {
	w.nights++
	w.asleep.Store(w.nights<<1 | how)
	if v := w.word.Load(); v < target {
		down(v)
	}
	w.asleep.Store(0)
}

// rest returns when the other end has rung, or the link has ended.
func (w *waiter) rest(uint64) {
	select {
	case <-w.bell:
	case <-w.life.over:
	}
}

// nap returns when the other end wakes us, the word has changed, or dozeTime
// has passed.
func (w *waiter) nap(seen uint64) { futexSleep(w.word, seen, dozeTime) }

// A ringer wakes the waiter at the other end.
type ringer struct {
	word   *atomic.Uint64 // ours, for which it waits
	asleep *atomic.Uint64 // theirs
	woken  uint64         // the night in which we have woken it last
}

// wake wakes the other end from a doze. If it sleeps, it reports that somebody
// must ring. Either happens once a night.
func (r *ringer) wake() (ring bool) {
	n := r.asleep.Load()
	if n == 0 || n == r.woken {
		return false
	}
	r.woken = n
	if n&1 == dozes {
		wakeOne(r.word)
	}
	return n&1 == sleeps
}
