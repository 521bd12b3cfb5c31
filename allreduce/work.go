package allreduce

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"time"

	"github.com/ringrun/ringrun/ring"
)

// Work is a collective in progress.
type Work struct {
	c     *Comm
	seq   uint32
	kind  Op    // of collective
	op    Op    // of those that reduce
	codec Codec // nil: raw
	scale *Scale
	x     Vector
	from  Vector // see StartInto; empty: x
	cut   cut    // of x
	root  int
	form  form
	blobs [][]byte // of a gather: mine, and room for the others
	swap  *swapped // of an all-to-all
	wheel *wheel   // of a dissemination
	note  *letter  // of a message
	after func()   // called when all is well, before the work is done
	bytes int      // what it counts for in Config.InFlightBytes
	lanes int      // how many lanes work on it
	frame int      // how many elements fit a frame

	algorithm Algorithm // of an all-reduce or a barrier; set when the work is numbered

	watched watched // by the Trace

	mine []*lane // that whoever waits drives
	room [2]*lane

	pending int // parts not done, two for each lane; guarded by c.mu
	done    chan struct{}
	err     error     // set before done is closed
	ended   time.Time // likewise
}

// Done returns a channel that is closed when the work has ended, well or not.
func (w *Work) Done() <-chan struct{} { return w.done }

// Wait waits for the end of the work. When ctx ends before, the ring is broken:
// all works in progress and all later calls fail, on all peers.
func (w *Work) Wait(ctx context.Context) error {
	if w.isDone() {
		return w.err
	}
	c := w.c
	c.mu.Lock()
	drives := c.man(ctx, w)
	c.mu.Unlock()
	if drives {
		w.drive(ctx)
	}
	select {
	case <-w.done:
	case <-ctx.Done():
		w.giveUp(ctx)
		<-w.done // now soon: a broken ring wakes everybody
	}
	return w.err
}

func (w *Work) giveUp(ctx context.Context) {
	what := fmt.Sprintf("collective %d", w.seq)
	if w.note != nil {
		what = w.note.name(w.c)
	}
	w.c.fail(codeCanceled, fmt.Errorf("%s given up: %w", what, context.Cause(ctx)))
}

// Ended returns when the work ended. It is only known when Done is closed.
func (w *Work) Ended() time.Time { return w.ended }

func (w *Work) end(err error) {
	w.err = err
	w.ended = time.Now()
	w.c.traceEnd(w, w.ended, err)
	close(w.done)
}

// complete ends a work that went well.
func (w *Work) complete() {
	if w.after != nil {
		w.after()
	}
	w.end(nil)
}

// start numbers the work and launches it as soon as there is room.
func (c *Comm) start(w *Work) *Work {
	c.begin(context.Background(), w, false)
	return w
}

// helpBytes is the size of vectors up to which the caller of a blocking call
// sends the first frame itself.
const helpBytes = exchangePair

// run does the work and waits for it. If nobody else does this goroutine drives;
// or where links cannot be polled it sends the first frame itself, if the lane is
// idle: for small vectors waking another takes longer.
func (c *Comm) run(ctx context.Context, w *Work) error {
	if c.board.takes(w) {
		if ok, err := c.board.run(ctx, w); ok {
			return err
		}
	}
	help, drives := c.begin(ctx, w, true)
	if drives {
		w.drive(ctx)
	}
	if help {
		stop := context.AfterFunc(ctx, func() { w.giveUp(ctx) })
		c.lanes[0].help()
		stop()
	}
	return w.Wait(ctx)
}

// begin is start. If the caller waits for the work, it tells what that must do
// first: call help of lane 0, which has not been woken, or drive.
func (c *Comm) begin(ctx context.Context, w *Work, waits bool) (help, drive bool) {
	w.c, w.done = c, make(chan struct{})
	c.mu.Lock()
	defer c.mu.Unlock()
	w.seq = c.next
	c.next++
	c.choose(w)
	c.traceBegin(w)
	if c.err != nil {
		w.end(c.err)
		return false, false
	}
	if c.size == 1 {
		w.alone()
		return false, false
	}
	drive = waits && c.man(ctx, w)
	help = waits && w.bytes <= helpBytes && !c.lanes[0].polls
	c.waiting = append(c.waiting, w)
	c.helped = help
	c.launch()
	c.helped = false
	switch {
	case !help:
	case len(c.waiting) > 0 || c.over:
		c.lanes[0].filled.Signal()
		help = false
	default:
		c.running.Add(1) // until help returns: what it sends may be of any work
	}
	return help, drive
}

// alone does what a ring of one leaves to do.
func (w *Work) alone() {
	if w.scale != nil {
		w.enter(w.x)
		w.leave(w.x)
	}
	w.complete()
}

// launch begins the works for which there is room. It is called with c.mu held.
func (c *Comm) launch() {
	for len(c.waiting) > 0 && !c.over {
		w := c.waiting[0]
		if c.flight > 0 && c.flight+w.bytes > c.limit {
			return
		}
		c.waiting = slices.Delete(c.waiting, 0, 1) // and no memory is taken for the next
		c.launched++
		c.works[w.seq] = w
		c.flight += w.bytes
		if c.board.takes(w) {
			c.board.launch(w)
		} else {
			w.lanes, w.frame = w.spread(), w.fit()
			w.pending = 2 * w.lanes
		}
		if w.algorithm == TwoLevel {
			w.pending++
			c.levels.push(w)
		}
		for _, l := range c.lanes {
			l.launch(w)
			l.rouseIfIdle()
		}
	}
}

// laneBytes is how much of a chunk a lane must get to be worth its frames.
const laneBytes = 16 << 10

// spread returns how many lanes work on the vector: the same on all peers.
func (w *Work) spread() int {
	switch {
	case w.algorithm == Dissemination:
		return 1 + len(w.c.lanes) - w.c.width
	case w.kind == gather, w.kind == barrier, w.kind == allToAll, w.algorithm == Exchange, w.algorithm == TwoLevel:
		return 1
	}
	return min(w.c.width, 1+w.bytes/w.c.size/laneBytes)
}

// first returns the first of the lanes that work on the vector: a small one goes
// over the short lane, if there is one.
func (w *Work) first() int {
	if w.algorithm == Exchange && w.c.size == 2 && w.bytes <= shortBytes {
		return len(w.c.lanes) - 1
	}
	return 0
}

// shortBytes is up to where the short lane is faster.
const shortBytes = 8 << 10

// uses reports whether the lane is one of those that work on the vector.
func (w *Work) uses(l *lane) bool {
	if w.algorithm == Dissemination {
		return l.index == 0 || l.index >= w.c.width
	}
	first := w.first()
	return first <= l.index && l.index < first+w.lanes
}

// fit returns how many elements fit a frame.
func (w *Work) fit() int {
	room := w.c.ring.FrameBytes()
	switch {
	case w.x.typ == 0, w.kind == allToAll: // of bytes
		return room
	case w.codec == nil:
		return max(1, room/w.x.typ.Size())
	}
	n := sort.Search(room, func(n int) bool { return countBytes+w.codec.Bound(w.x.typ, n+1) > room })
	return max(1, n)
}

// flow returns the part of the work that runs over lane l.
func (w *Work) flow(l *lane) flow {
	switch {
	case w.algorithm == Dissemination:
		return w.spoke(l)
	case w.kind == gather, w.kind == barrier:
		return &collect{w: w, l: l}
	case w.kind == allToAll:
		return &swap{w: w, l: l}
	case w.algorithm == Exchange:
		return &exchange{w: w, l: l}
	case w.algorithm == TwoLevel:
		return greet{w}
	}
	w.cut.n, w.cut.size = w.x.len, w.c.size
	return &relay{w: w, l: l, route: route{cut: w.cut, kind: w.kind, rank: w.c.rank, root: w.root}}
}

// header describes a segment of the work.
func (w *Work) header(s segment) ring.Header {
	h := ring.Header{
		Op:     uint8(w.kind + w.op),
		Step:   uint16(s.step),
		Seq:    w.seq,
		Type:   uint8(w.x.typ),
		Count:  uint64(w.x.len),
		Offset: uint64(s.lo),
		Root:   uint32(w.root) | uint32(w.form)<<16,
	}
	if w.codec != nil {
		h.Codec = w.codec.ID()
	}
	if w.countsBlobs() {
		h.Count = uint64(s.count)
	}
	return h
}

// countsBlobs reports whether Header.Count is the length of one blob, and so
// not alike on all peers.
func (w *Work) countsBlobs() bool { return w.kind == gather || w.kind == allToAll }

// finished notes that one part of the work is done, and ends it with the last.
func (c *Comm) finished(w *Work) {
	if c.remove(w) {
		w.complete()
	}
}

// remove reports whether the work is done, and makes room for others.
func (c *Comm) remove(w *Work) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if w.pending--; w.pending > 0 {
		return false
	}
	if w.note != nil {
		delete(c.letters, w.note.key)
		return true
	}
	delete(c.works, w.seq)
	c.flight -= w.bytes
	c.launch()
	if len(c.works) == 0 {
		for _, l := range c.lanes {
			l.room.Broadcast()
		}
	}
	return true
}
