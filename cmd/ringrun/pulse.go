package main

import (
	"fmt"
	"io"
	"slices"
	"sync/atomic"
	"time"
)

// The launcher and the agents on other hosts hear of each other all the time, so
// that each notices when the other is gone without a word: its host has lost
// power, or the network between them is cut.
//
//	          launcher                         agent
//	every beat: lease ────────────────────────▶
//	            ◀───────────────────────── alive
//	silent for a third of the lease: says so
//	silent for the lease: gives the          silent for the lease: ends its
//	host up, its workers are lost            workers, and itself
//
// Both count beats, not time: one that was stopped, or had no processor, has
// not been waiting meanwhile.
const (
	defaultLease = 15 * time.Second
	longestBeat  = time.Second
	leaseBeats   = 8 // at least, in a lease
)

func beatOf(lease time.Duration) time.Duration { return min(longestBeat, lease/leaseBeats) }

// A pulse counts the beats since something was heard. heard may be called from
// any goroutine.
type pulse struct {
	lease  time.Duration
	fresh  atomic.Bool
	silent int // beats
}

func (p *pulse) heard() { p.fresh.Store(true) }

// beat counts one more and reports how long it has been silent.
func (p *pulse) beat() time.Duration {
	p.silent++
	if p.fresh.Swap(false) {
		p.silent = 0
	}
	return time.Duration(p.silent) * beatOf(p.lease)
}

// hearing is a reader that tells of every byte.
type hearing struct {
	io.Reader
	heard func()
}

func (h hearing) Read(p []byte) (int, error) {
	n, err := h.Reader.Read(p)
	if n > 0 {
		h.heard()
	}
	return n, err
}

// beat renews the lease of an agent on another host until nobody reads its events
// any more, and gives the agent up when it is silent for too long. While the
// reader is busy, because nobody takes our output, silence means nothing.
func (c *conn) beat(lease time.Duration, note func(string, ...any)) {
	c.pulse.lease = lease
	tick := time.NewTicker(beatOf(lease))
	defer tick.Stop()
	told := false
	for {
		c.send(request{Lease: lease})
		select {
		case <-tick.C:
		case <-c.unread:
			return
		}
		if !c.reading.Load() {
			c.pulse.heard()
		}
		switch silence := c.pulse.beat(); {
		case silence == 0 && told:
			told = false
			note("host %s answers again", c.host.name)
		case silence >= lease:
			c.stderrMu.Lock()
			c.stderr = fmt.Sprintf("no answer for %v: it is cut off, or has lost power (-lease)", lease)
			c.stderrMu.Unlock()
			c.kill()
			return
		case silence >= lease/3 && !told:
			told = true
			note("host %s does not answer, for %v: it is cut off, or overloaded; its workers are given up after %v", c.host.name, round(silence), lease)
		}
	}
}

// outlasting lets ssh itself wait longer than the lease, which then decides.
func outlasting(args []string, lease time.Duration) []string {
	at := slices.Index(args, "-T")
	if at < 0 {
		return args
	}
	return slices.Insert(args, at+1, "-o", fmt.Sprintf("ServerAliveInterval=%d", int(lease.Seconds())/3+2))
}
