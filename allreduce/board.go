package allreduce

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/ringrun/ringrun/allreduce/internal/simd"
	"github.com/ringrun/ringrun/ring"
)

// A board does collectives where the peers of the ring share memory: nothing is
// sent, everybody reads what it needs from the memory of the others, and writes
// to its own only.
//
// Collectives take turns on the board, in the order of their numbers. A turn
// begins with a post: each peer says which collective it means, and where its
// vector is. When it has seen the posts of all, it knows that the turn before is
// over everywhere. How it goes on depends on the vector:
//
//	up to whisperBytes   it is in the post
//	up to slotBytes      it is copied to a slot, and every peer combines all
//	in the arenas        see direct
//	elsewhere            see staged
//
// That is an all-reduce; see shares for a reduce-scatter, and spread for an
// all-gather and a broadcast.
//
// Nothing else of the Comm knows of the board, but that its collectives have
// their place among the numbers of all. What ends the ring ends the turn.
type board struct {
	c      *Comm
	mem    ring.Board
	posts  [][2]*post // by rank
	ended  <-chan struct{}
	quit   func() error // b.look
	terms  terms
	stager copier // of vectors, to the stage
	taker  copier // of results, from those who made them

	crowded bool // peers outnumber the processors of one of them

	// Of direct, by rank.
	copied   []int
	results  []Vector // or their chunks, in the stages
	borrowed bool     // the latter

	// Guarded by c.mu.
	busy   bool       // somebody has the turn
	inline *Work      // of a caller that does it itself
	spare  Work       // for inline
	queue  []*Work    // for serve
	filled *sync.Cond // queue is not empty and the turn is free, or c.over, and then no work is inline

	// Belong to whoever has the turn.
	turn     uint64 // number of the turn
	progress uint64 // what the words of progress begin with in this turn
	failed   bool   // the last turn has; there is no other
	work     *Work
	ctx      context.Context // of the caller of an inline work; it does not outlive the call
	awaited  int             // the rank that we wait for
	fence    atomic.Uint32   // see complete
}

// The sheet of a peer. Words that others wait for have cache lines of their own.
//
//	  0  post of even turns
//	128  post of odd turns
//	256  staged:  parts of the vector that are in the stage
//	384  reduced: blocks of our chunk that are complete
//	512  done:    turns in which we have read all that we need
//	640  gone:    one more than the turns we have completed, when there will be no more
//	768  crowd:   1 if peers outnumber our processors
//	4096 slots of even and odd turns, then stages of even and odd parts
const (
	postBytes   = 128
	wordStaged  = 256
	wordReduced = 384
	wordDone    = 512
	wordGone    = 640
	wordCrowd   = 768
	slotsAt     = 4096
	slotBytes   = 32 << 10
	stagesAt    = slotsAt + 2*slotBytes

	whisperBytes = postBytes - 40
)

// A post is what a peer says when a turn begins. The turn is its word, written
// last.
type post struct {
	turn  uint64
	what  uint64 // operation and type
	count uint64
	name  uint64 // sequence number and form
	place uint64 // offset in the arena, or nowhere
	words [whisperBytes]byte
}

// nowhere is the place of a vector that is not in the arena.
const nowhere = ^uint64(0)

func newBoard(c *Comm, mem ring.Board) *board {
	b := &board{c: c, mem: mem, ended: c.ring.Done(), filled: sync.NewCond(&c.mu), copied: make([]int, c.size), results: make([]Vector, c.size)}
	b.quit, b.terms = b.look, newTerms(c.size)
	b.stager = copier{way: simd.Stream, least: leastTry}
	b.taker = copier{way: simd.Overwrite}
	if runtime.NumCPU() < c.size {
		mem.Post(wordCrowd, 1)
	}
	for rank := range c.size {
		s := mem.Sheet(rank)
		b.posts = append(b.posts, [2]*post{
			(*post)(unsafe.Pointer(&s[0])), (*post)(unsafe.Pointer(&s[postBytes])),
		})
	}
	c.running.Go(b.serve)
	return b
}

// takes reports whether the work is done on the board: the same on all peers.
func (b *board) takes(w *Work) bool {
	if b == nil || w.codec != nil {
		return false
	}
	switch w.kind {
	case allReduce:
		return w.algorithm == Auto || w.algorithm == Shared
	case allGather, reduceScatter, broadcast:
		return w.algorithm == Auto
	}
	return false
}

// allReduce does an all-reduce in the caller's goroutine, without taking memory,
// unless others are before it.
func (b *board) allReduce(ctx context.Context, x Vector, op Op) (ok bool, err error) {
	c := b.c
	c.mu.Lock()
	if !b.free(len(x.Bytes())) {
		c.mu.Unlock()
		return false, nil
	}
	w := &b.spare
	w.c, w.op, w.x, w.bytes = c, op, x, len(x.Bytes())
	b.enter(w)
	c.mu.Unlock()
	return true, b.perform(ctx, w)
}

// run is allReduce for any work that the board takes.
func (b *board) run(ctx context.Context, w *Work) (ok bool, err error) {
	c := b.c
	c.mu.Lock()
	if !b.free(w.bytes) {
		c.mu.Unlock()
		return false, nil
	}
	w.c = c
	b.enter(w)
	c.mu.Unlock()
	err = b.perform(ctx, w)
	if err == nil && w.after != nil {
		w.after()
	}
	return true, err
}

// free reports whether a collective can begin now. It is called with c.mu held.
func (b *board) free(bytes int) bool {
	c := b.c
	if b.busy || c.over || c.err != nil || len(b.queue) > 0 || len(c.waiting) > 0 ||
		c.flight > 0 && c.flight+bytes > c.limit {
		return false
	}
	for _, l := range c.lanes {
		if len(l.entries) > 0 && l.entries[c.next] != nil { // somebody means another collective
			return false
		}
	}
	return true
}

// enter numbers an inline work and takes the turn. It is called with c.mu held.
func (b *board) enter(w *Work) {
	c := b.c
	w.seq = c.next
	c.next++
	c.traceBegin(w)
	c.launched++
	c.flight += w.bytes
	b.busy, b.inline = true, w
}

// perform does an inline work and gives back the turn.
func (b *board) perform(ctx context.Context, w *Work) error {
	c := b.c
	b.ctx = ctx
	err := b.do(w)
	b.ctx = nil
	if w.watched.tag != 0 {
		c.traceEnd(w, time.Now(), err)
	}
	c.mu.Lock()
	c.flight -= w.bytes
	b.inline, b.spare.x = nil, Vector{}
	b.leave()
	c.launch()
	c.mu.Unlock()
	if err == nil {
		return nil
	}
	<-c.ended
	return c.Err()
}

// leave gives back the turn. It is called with c.mu held.
func (b *board) leave() {
	b.busy = false
	if len(b.queue) > 0 || b.c.over {
		b.filled.Broadcast()
	}
}

// settle waits for the caller that does a work itself. It is called with c.mu
// held, when c.over is set.
func (b *board) settle() {
	for b != nil && b.inline != nil {
		b.filled.Wait()
	}
}

// launch queues a work for serve. It is called with c.mu held.
func (b *board) launch(w *Work) {
	w.pending = 1
	b.queue = append(b.queue, w)
	b.filled.Signal()
}

// serve is the goroutine that does what was started and not waited for at once.
func (b *board) serve() {
	c := b.c
	for {
		c.mu.Lock()
		for (b.busy || len(b.queue) == 0) && !c.over {
			b.filled.Wait()
		}
		if c.over {
			c.mu.Unlock()
			return
		}
		w := b.queue[0]
		b.queue = b.queue[1:]
		b.busy = true
		c.mu.Unlock()
		err := b.do(w)
		c.mu.Lock()
		b.leave()
		c.mu.Unlock()
		if err != nil {
			return // the Comm ends, and the work with it
		}
		c.finished(w)
	}
}

// find returns a copy of the inline work of a number. It is called with c.mu
// held.
func (b *board) find(seq uint32) *Work {
	if b == nil || b.inline == nil || b.inline.seq != seq {
		return nil
	}
	w := *b.inline
	return &w
}

// errTurn: a turn has failed, and the ring is broken because of it.
var errTurn = errors.New("allreduce: the turn has failed")

// do does a work in the next turn. If it fails, the ring is broken, and no turn
// follows: others may still read what was posted in this one.
func (b *board) do(w *Work) error {
	if b.failed {
		return errTurn
	}
	b.turn++
	b.work = w
	err := b.turnOf(w)
	b.work = nil
	if err == nil {
		return nil
	}
	if !errors.Is(err, errTurn) {
		b.c.fail(codeFault, fmt.Errorf("collective %d: %w", w.seq, err))
	}
	<-b.ended
	b.failed = true
	b.turn--
	b.depart()
	return err
}

func (b *board) turnOf(w *Work) error {
	switch w.kind {
	case allGather, broadcast:
		return b.spread(w)
	case reduceScatter:
		return b.shares(w)
	}
	return b.reduce(w)
}

// depart tells the others that we take part in no further turn. From then on our
// vectors may change, so that nothing that others read there after it counts.
func (b *board) depart() { b.mem.Post(wordGone, b.turn+1) }

// gone reports whether a peer has left without completing this turn.
func (b *board) gone(rank int) bool {
	v := b.mem.Peek(rank, wordGone)
	return v != 0 && v <= b.turn
}

// close is called when no turn will follow.
func (b *board) close() {
	b.depart()
	b.mem.Close()
}

// look is what we do now and then while we wait: it returns an error when there
// is nothing to wait for any more.
func (b *board) look() error {
	select {
	case <-b.ended:
		return errTurn
	default:
	}
	if b.ctx != nil {
		select {
		case <-b.ctx.Done():
			b.work.giveUp(b.ctx)
			return errTurn
		default:
		}
	}
	if b.gone(b.awaited) {
		return b.missed(b.awaited)
	}
	return nil
}

// reasonTime is how long a better reason may be on its way when a peer has left.
// It is counted in ticks, of which a process that was stopped finds one on waking.
const (
	reasonTime  = 50 * time.Millisecond
	reasonTicks = 5
)

func (b *board) missed(rank int) error {
	t := time.NewTicker(reasonTime / reasonTicks)
	defer t.Stop()
	for range reasonTicks {
		select {
		case <-b.ended:
			return errTurn
		case <-t.C:
		}
	}
	return fmt.Errorf("%s has left", b.c.peers[rank])
}

// await waits for a word of a peer, which may not be beyond limit.
func (b *board) await(rank, at int, value, limit uint64) (uint64, error) {
	b.awaited = rank
	v, err := b.mem.Await(rank, at, value, b.quit)
	if err == nil && v > limit {
		err = b.beyond(rank, at, v, limit)
	}
	return v, err
}

func (b *board) beyond(rank, at int, v, limit uint64) error {
	return fmt.Errorf("%s has %d in word %d, want at most %d", b.c.peers[rank], v, at, limit)
}
