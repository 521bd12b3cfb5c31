package ring

import "time"

// The watch looks at every link eight times per Silence. It counts its own
// ticks instead of reading a clock: a process that was itself stopped finds one
// tick on waking, not the long time that has passed, and accuses nobody.
const (
	ticksPerSilence = 8
	ticksPerAlive   = 1
	ticksPerRare    = 3 // of chords, of which there are many
)

// watch keeps the ring's links alive and breaks it when a peer falls silent.
func (r *Ring) watch() {
	tick := time.NewTicker(r.silence / ticksPerSilence)
	defer tick.Stop()
	for {
		select {
		case <-r.done:
			return
		case <-tick.C:
		}
		r.mu.Lock()
		ends := r.ends // only ever appended to
		r.mu.Unlock()
		for _, e := range ends {
			r.look(e)
		}
	}
}

func (r *Ring) look(e *end) {
	every := ticksPerAlive
	if e.rarely {
		every = ticksPerRare
	}
	if e.count.idle(e.sends.Load(), every) {
		e.alive()
	}
	if e.count.silent(e.pulse.Load()) {
		r.abort(e.silent())
	}
}

// alive sends a heartbeat, unless somebody sends already: that is as good. The
// frame may have to wait for the window, and the other links must not wait
// with it. Errors are left to whoever reads from the link.
func (e *end) alive() {
	select {
	case e.turn <- struct{}{}:
	default:
		return
	}
	e.ring.running.Go(func() {
		e.link.Send(Header{Kind: Alive, Epoch: e.ring.epoch, Count: e.ring.pulse.say()}, nil)
		e.sends.Add(1)
		<-e.turn
	})
}

// beats counts the ticks during which nothing happened on a link.
type beats struct {
	sends, pulse uint32 // at the last tick
	quiet, still int    // ticks without a frame sent, without one awaited and received
}

// idle reports that it is time for a heartbeat.
func (b *beats) idle(sends uint32, every int) bool {
	if sends != b.sends {
		b.sends, b.quiet = sends, 0
		return false
	}
	b.quiet++
	return b.quiet >= every
}

// silent reports that the peer was awaited for the length of Silence, in vain.
// While nobody waits for it, it is not accused.
func (b *beats) silent(pulse uint32) bool {
	if waiting := pulse%2 == 1; pulse != b.pulse || !waiting {
		b.pulse, b.still = pulse, 0
		return false
	}
	b.still++
	return b.still >= ticksPerSilence
}
