package allreduce

import (
	"context"
	"time"
)

// Whoever waits for a work can do what the goroutines of a lane do: receive, and
// send what that makes ready, without ever waiting for one while there is
// something to do for the other. While frames follow each other within
// microseconds that saves waking goroutines, and sleeping, which cost more than
// a small frame itself. It needs links that can be polled; see ring.Pollable.
//
// The helm is the right to receive. A driver has it until its work is done, or
// there is nothing more that it could do for it. Its sending never blocks: a
// frame that does not fit the window stays in its hand, and goes to the sending
// goroutine when the driver leaves or sleeps. So a ring of drivers whose windows
// are all full empties as it does otherwise.
//
// Meanwhile the receiving goroutine naps: were it asleep on the link, every frame
// would wake it. It looks after the lane again when nobody has driven for a
// while, or when a driver leaves works behind.

// calmTime is how long nobody must have driven for the receiving goroutine to
// return to the link. For so long an idle peer may not see that the ring breaks.
const calmTime = 4 * time.Millisecond

// driver is what a lane knows of the goroutine that drives it.
type driver struct {
	ctx  context.Context // ends with the call that drives
	work *Work           // that it waits for; nil while nobody drives
}

// man takes the helm of the lanes that should be driven for the work, as far as
// they are free. If it returns true, drive must be called. It is called with c.mu
// held.
func (c *Comm) man(ctx context.Context, w *Work) bool {
	if c.size == 1 || c.over || w.mine != nil {
		return false
	}
	mine := w.room[:0]
	for _, l := range c.lanes {
		if l.polls && w.drives(l) && l.gone == nil && l.helm.TryLock() {
			l.driver = driver{ctx, w}
			l.driven = true
			l.shifts.Add(1)
			mine = append(mine, l)
		}
	}
	if len(mine) == 0 {
		return false
	}
	w.mine = mine
	c.running.Add(1)
	return true
}

// drives reports whether a lane should be driven for the work. Of several that
// share a long vector only the first is: the others have goroutines of their own.
func (w *Work) drives(l *lane) bool {
	if w.algorithm == Dissemination {
		return w.uses(l)
	}
	return l.index == w.first()
}

// drive works on the lanes of which man has taken the helm until the work is
// done, or there is nothing more to do for it.
func (w *Work) drive(ctx context.Context) {
	defer w.stepDown()
	idle := &w.mine[0].idle
	for idle.reset(); !w.isDone() && ctx.Err() == nil; {
		some := false
		for _, l := range w.mine {
			got, ok := l.turn()
			if !ok {
				return
			}
			some = some || got
		}
		switch {
		case some:
			idle.reset()
		case idle.again():
		case w.sleep():
			idle.reset()
		default:
			return
		}
	}
}

// turn sends and receives what it can, at most a frame each. It returns whether
// it has received one, and false in ok when the lane is of no more use.
func (l *lane) turn() (got, ok bool) {
	if l.behind.Load() {
		l.catchUp()
	}
	if !l.pump() {
		return false, false
	}
	h, got, err := l.link.Poll()
	switch {
	case err != nil:
		l.driver.work.retire()
		l.end(err)
		return false, false
	case got:
		return true, l.accept(h)
	}
	return false, true
}

// catchUp works on frames that came before their collectives were launched, which
// otherwise goroutines of their own do.
func (l *lane) catchUp() {
	l.c.mu.Lock()
	all := l.backlog
	l.backlog = nil
	l.behind.Store(false)
	l.c.mu.Unlock()
	for _, e := range all {
		l.drain(e)
	}
}

// retire ends driving; what is in hand goes to the sending goroutines.
func (w *Work) retire() {
	for _, l := range w.mine {
		l.driver = driver{}
		l.handOver()
	}
}

// stepDown gives the helms back, and what is left to do to the lanes' goroutines.
func (w *Work) stepDown() {
	c := w.c
	w.retire()
	for _, l := range w.mine {
		l.shifts.Add(1)
		l.helm.Unlock()
	}
	c.mu.Lock()
	if len(c.works) > 0 || len(c.letters) > 0 {
		for _, l := range w.mine {
			l.rouse()
		}
	}
	w.mine = nil
	c.mu.Unlock()
	c.running.Done()
}

func (w *Work) isDone() bool {
	select {
	case <-w.done:
		return true
	default:
		return false
	}
}

// sleep waits on the link, if there is only one and the work cannot be done
// before something arrives there.
func (w *Work) sleep() bool {
	return len(w.mine) == 1 && w.mine[0].expects(w) && w.mine[0].sleep()
}

// expects reports whether the work cannot be done before something arrives here.
func (l *lane) expects(w *Work) bool {
	l.c.mu.Lock()
	defer l.c.mu.Unlock()
	if w.note != nil {
		return w.note.awaits() && !w.isDone()
	}
	e := l.entries[w.seq]
	return e != nil && e.work == w && !e.draining
}

// sleep waits on the link, unless the receiving goroutine already does. Others
// send meanwhile.
func (l *lane) sleep() bool {
	if !l.asleep.CompareAndSwap(false, true) {
		return false
	}
	l.handOver()
	w, ctx := l.driver.work, l.driver.ctx
	stop := context.AfterFunc(ctx, func() { w.giveUp(ctx) })
	l.link.Await() // an error comes again
	stop()
	l.asleep.Store(false)
	l.takeBack()
	return true
}

// takeBack ends what handOver began.
func (l *lane) takeBack() {
	l.c.mu.Lock()
	defer l.c.mu.Unlock()
	l.driven = true
}

// Read reads from the body of the frame that is received.
func (l *lane) Read(p []byte) (int, error) {
	if l.driver.work == nil {
		return l.link.Read(p)
	}
	for {
		if !l.pump() {
			return l.link.Read(p) // fails too
		}
		n, err := l.link.TryRead(p)
		switch {
		case n > 0 && len(p) >= longBytes:
			l.idle.arrived(n)
			return n, nil
		case n > 0 || err != nil || len(p) == 0:
			l.idle.reset()
			return n, err
		case l.idle.again():
		case len(l.driver.work.mine) == 1 && l.sleep():
			l.idle.reset()
		default: // the receiving goroutine waits on the link, or there are several
			l.driver.work.handOver()
			defer l.driver.work.takeBack()
			return l.link.Read(p)
		}
	}
}

// handOver leaves what is to be sent to the sending goroutines for a while.
func (w *Work) handOver() {
	for _, l := range w.mine {
		l.handOver()
	}
}

func (w *Work) takeBack() {
	for _, l := range w.mine {
		l.takeBack()
	}
}

// attend is the goroutine that takes what arrives while nobody drives.
func (l *lane) attend() {
	for {
		l.calm()
		if !l.asleep.CompareAndSwap(false, true) {
			continue
		}
		err := l.link.Await()
		l.asleep.Store(false)
		if err != nil {
			l.helm.Lock() // who has it sees the error too
			l.end(err)
			l.helm.Unlock()
			return
		}
		if !l.helm.TryLock() {
			continue
		}
		ok := l.serve()
		l.helm.Unlock()
		if !ok {
			return
		}
	}
}

// serve takes what has arrived. It returns false when nothing more will.
func (l *lane) serve() bool {
	for {
		h, ok, err := l.link.Poll()
		if err != nil {
			l.end(err)
			return false
		}
		if !ok {
			return true
		}
		if !l.accept(h) {
			return false
		}
	}
}

// calm waits until nobody has driven for a while, or somebody calls rouse.
func (l *lane) calm() {
	t := time.NewTimer(calmTime)
	defer t.Stop()
	for {
		n := l.shifts.Load()
		if n == l.shift && n%2 == 0 {
			return
		}
		l.shift = n
		select {
		case <-l.roused:
			return
		case <-l.c.ring.Done():
			return
		case <-t.C:
			t.Reset(calmTime)
		}
	}
}

// rouseIfIdle makes sure that somebody receives for a work that nobody waits for
// yet. It is called with c.mu held.
func (l *lane) rouseIfIdle() {
	if l.polls && !l.driven {
		l.rouse()
	}
}

// rouse sends the receiving goroutine back to the link.
func (l *lane) rouse() {
	select {
	case l.roused <- struct{}{}:
	default:
	}
}
