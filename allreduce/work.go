package allreduce

import (
	"context"
	"fmt"
	"sort"

	"github.com/ringrun/ringrun/ring"
)

// Work is a collective in progress.
type Work struct {
	c     *Comm
	seq   uint32
	op    Op
	codec Codec // nil: raw
	x     Vector
	root  int
	blobs [][]byte // of a gather: mine, and room for the others
	bytes int      // what it counts for in Config.InFlightBytes
	lanes int      // how many lanes work on it
	frame int      // how many elements fit a frame

	pending int // parts not done, two for each lane; guarded by c.mu
	done    chan struct{}
	err     error // set before done is closed
}

// Done returns a channel that is closed when the work has ended, well or not.
func (w *Work) Done() <-chan struct{} { return w.done }

// Wait waits for the end of the work. When ctx ends before, the ring is broken:
// all works in progress and all later calls fail, on all peers.
func (w *Work) Wait(ctx context.Context) error {
	select {
	case <-w.done:
		return w.err
	default:
	}
	select {
	case <-w.done:
	case <-ctx.Done():
		w.c.fail(codeCanceled, fmt.Errorf("collective %d given up: %w", w.seq, context.Cause(ctx)))
		<-w.done // now soon: a broken ring wakes everybody
	}
	return w.err
}

func (w *Work) end(err error) {
	w.err = err
	close(w.done)
}

// start numbers the work and launches it as soon as there is room.
func (c *Comm) start(w *Work) *Work {
	w.c, w.done = c, make(chan struct{})
	c.mu.Lock()
	defer c.mu.Unlock()
	w.seq = c.next
	c.next++
	switch {
	case c.err != nil:
		w.end(c.err)
	case c.size == 1:
		w.end(nil)
	default:
		c.waiting = append(c.waiting, w)
		c.launch()
	}
	return w
}

// launch begins the works for which there is room. It is called with c.mu held.
func (c *Comm) launch() {
	for len(c.waiting) > 0 && !c.over {
		w := c.waiting[0]
		if len(c.works) > 0 && c.flight+w.bytes > c.limit {
			return
		}
		c.waiting = c.waiting[1:]
		c.launched++
		c.works[w.seq] = w
		c.flight += w.bytes
		w.lanes, w.frame = w.spread(), w.fit()
		w.pending = 2 * w.lanes
		for _, l := range c.lanes {
			l.launch(w)
		}
	}
}

// laneBytes is how much of a chunk a lane must get to be worth its frames.
const laneBytes = 16 << 10

// spread returns how many lanes work on the vector: the same on all peers.
func (w *Work) spread() int {
	if w.op == gather || w.op == barrier {
		return 1
	}
	return min(len(w.c.lanes), 1+w.bytes/w.c.size/laneBytes)
}

// fit returns how many elements fit a frame.
func (w *Work) fit() int {
	room := w.c.ring.FrameBytes()
	switch {
	case w.x.typ == 0: // a gather, of bytes
		return room
	case w.codec == nil:
		return max(1, room/w.x.typ.Size())
	}
	n := sort.Search(room, func(n int) bool { return countBytes+w.codec.Bound(w.x.typ, n+1) > room })
	return max(1, n)
}

// flow returns the part of the work that runs over lane l.
func (w *Work) flow(l *lane) flow {
	switch w.op {
	case broadcast:
		return &cast{w: w, l: l}
	case gather, barrier:
		return &collect{w: w, l: l}
	}
	return &relay{w: w, l: l}
}

// header describes a segment of the work.
func (w *Work) header(s segment) ring.Header {
	h := ring.Header{
		Op:     uint8(w.op),
		Step:   uint16(s.step),
		Seq:    w.seq,
		Type:   uint8(w.x.typ),
		Count:  uint64(w.x.len),
		Offset: uint64(s.lo),
		Root:   uint32(w.root),
	}
	if w.codec != nil {
		h.Codec = w.codec.ID()
	}
	if w.op == gather {
		h.Count = uint64(s.count)
	}
	return h
}

// finished notes that one part of the work is done, and ends it with the last.
func (c *Comm) finished(w *Work) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if w.pending--; w.pending > 0 {
		return
	}
	delete(c.works, w.seq)
	c.flight -= w.bytes
	c.launch()
	if len(c.works) == 0 {
		for _, l := range c.lanes {
			l.room.Broadcast()
		}
	}
	w.end(nil)
}
