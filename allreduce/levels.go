package allreduce

import (
	"fmt"
	"slices"
	"sync"

	"github.com/ringrun/ringrun/ring"
)

// An all-reduce on two levels sends between hosts only what must be. The vector
// is cut into pieces, which follow each other through three stages:
//
//	down    the peers of one host combine a piece: a reduce-scatter
//	across  peers of all hosts combine what they have of it: an all-reduce
//	up      the peers of one host give each other the result: an all-gather
//
// Where all hosts have as many peers, the k-th of each host reduce the k-th part
// of a piece across; where not, the first of each host does so for the whole, and
// what goes down is a reduce and up a broadcast. Either way a host with g-1 others
// sends 2(g-1)/g vectors, whatever the number of its peers; in a ring of n it is
// 2(n-1)/n.
//
// An element is combined within each host in the order of the down stage, and
// then over the hosts in that of the across stage; in the order of a ring's chunk
// both times. So all peers end with equal bits, but not with those of a ring.
//
// Each stage has links of its own, so the order of collectives on each does not
// depend on how fast the others are.
type levels struct {
	c        *Comm
	down, up *Comm // of the peers of this host
	across   *Comm // nil if another peer does it for the host
	led      bool  // the first of each host does it

	queue  []*Work    // guarded by c.mu
	filled *sync.Cond // queue is not empty, or c.over
}

const (
	pieceBytes  = 512 << 10
	piecesAhead = 8 // between two stages
	levelsBytes = 64 << 10
)

// A piece of a vector on its way through the stages.
type piece struct {
	w    *Work
	x    Vector
	step *Work // in the stage that it is in; nil: nothing to wait for
	last bool  // of the vector
}

// start begins the goroutines of the stages. It is called with c.mu held.
func (l *levels) start() {
	falling, crossing, rising := make(chan piece, piecesAhead), make(chan piece, piecesAhead), make(chan piece, piecesAhead)
	l.c.running.Go(func() {
		defer close(falling)
		for w := l.pop(); w != nil; w = l.pop() {
			if !l.descend(w, falling) {
				return
			}
		}
	})
	l.c.running.Go(func() { l.stage(falling, crossing, l.cross) })
	l.c.running.Go(func() { l.stage(crossing, rising, l.ascend) })
	l.c.running.Go(func() {
		for p := range rising {
			if !l.wait(p) {
				return
			}
			if p.last {
				l.c.finished(p.w)
			}
		}
	})
}

// push queues a work. It is called with c.mu held.
func (l *levels) push(w *Work) {
	l.queue = append(l.queue, w)
	l.filled.Signal()
}

// pop waits for a work, and returns nil when there will be none.
func (l *levels) pop() *Work {
	l.c.mu.Lock()
	defer l.c.mu.Unlock()
	for len(l.queue) == 0 && !l.c.over {
		l.filled.Wait()
	}
	if l.c.over {
		return nil
	}
	w := l.queue[0]
	l.queue = slices.Delete(l.queue, 0, 1)
	return w
}

// descend starts the first stage of all pieces of a work.
func (l *levels) descend(w *Work, out chan<- piece) bool {
	n := max(1, (w.bytes+pieceBytes-1)/pieceBytes)
	for i := range n {
		lo, hi := ring.Chunk(w.x.len, n, i)
		p := piece{w: w, x: w.x.Slice(lo, hi), last: i == n-1}
		w.enter(p.x)
		if l.led {
			p.step = l.down.StartReduce(p.x, w.plain(), 0)
		} else {
			p.step = l.down.StartReduceScatter(p.x, w.plain(), nil)
		}
		if !l.pass(p, out) {
			return false
		}
	}
	return true
}

// plain returns the operation without the division of a mean, which comes last.
func (w *Work) plain() Op {
	if w.op == Mean {
		return Sum
	}
	return w.op
}

// stage waits for what the stage before has begun, piece by piece, and begins the next.
func (l *levels) stage(in <-chan piece, out chan<- piece, begin func(piece) *Work) {
	defer close(out)
	for p := range in {
		if !l.wait(p) {
			return
		}
		p.step = begin(p)
		if !l.pass(p, out) {
			return
		}
	}
}

func (l *levels) pass(p piece, out chan<- piece) bool {
	select {
	case out <- p:
		return true
	case <-l.c.ring.Done():
		return false
	}
}

// wait waits for the end of a piece's stage. A stage that fails has broken the
// ring of its group, and so this one.
func (l *levels) wait(p piece) bool {
	if p.step == nil {
		return true
	}
	<-p.step.done
	if p.step.err != nil {
		l.c.fail(codeFault, p.step.err)
	}
	return p.step.err == nil
}

// share returns what this peer has of a piece between down and up.
func (l *levels) share(x Vector) Vector {
	if l.led {
		return x
	}
	return x.Slice(l.down.Part(x.len))
}

func (l *levels) cross(p piece) *Work {
	if l.across == nil {
		return nil
	}
	return l.across.Start(l.share(p.x), p.w.plain())
}

func (l *levels) ascend(p piece) *Work {
	if l.across != nil {
		p.w.leave(l.share(p.x))
	}
	if l.led {
		return l.up.StartBroadcast(p.x, 0)
	}
	return l.up.StartAllGather(p.x, nil)
}

// end waits until nothing touches vectors any more.
func (l *levels) end() {
	for _, g := range []*Comm{l.down, l.across, l.up} {
		if g != nil {
			<-g.ended
		}
	}
}

// greet is the part of the ring of all in a work on two levels: an empty frame to
// the next peer, so that those who disagree notice.
type greet struct{ w *Work }

func (f greet) open() segment { return segment{work: f.w, last: true} }

func (f greet) take(h ring.Header, _ body) (bool, error) {
	if h.Length != 0 || h.Step != 0 {
		return false, fmt.Errorf("%d bytes of step %d, want an empty frame", h.Length, h.Step)
	}
	return true, nil
}
