package allreduce

import (
	"context"
	"fmt"
	"slices"

	"github.com/ringrun/ringrun/ring"
)

// Broadcast replaces x by the x of the peer of rank root. It may return before
// the others have it.
func (c *Comm) Broadcast(ctx context.Context, x Vector, root int) error {
	if root < 0 || root >= c.size {
		return fmt.Errorf("allreduce: broadcast from rank %d of %d", root, c.size)
	}
	if x.typ < Float32 || x.typ > Int64 {
		panic(fmt.Sprintf("allreduce: broadcast of a vector of %v", x.typ))
	}
	w := &Work{op: broadcast, x: x, root: root, bytes: len(x.Bytes())}
	return c.start(w).Wait(ctx)
}

// Gather returns the bytes that the peers have given, in rank order. The
// lengths may differ; mine is not copied.
func (c *Comm) Gather(ctx context.Context, mine []byte) ([][]byte, error) {
	blobs := make([][]byte, c.size)
	blobs[c.rank] = mine
	w := &Work{op: gather, blobs: blobs, bytes: c.size * len(mine)}
	if err := c.start(w).Wait(ctx); err != nil {
		return nil, err
	}
	return blobs, nil
}

// Barrier returns when all peers have called it.
func (c *Comm) Barrier(ctx context.Context) error {
	return c.start(&Work{op: barrier, blobs: make([][]byte, c.size)}).Wait(ctx)
}

// cast is a broadcast on one lane: everybody first sends an empty frame at step
// 0, so that peers that disagree notice in any case, and then the root's
// elements go round at step 1, to the peer before the root.
type cast struct {
	w      *Work
	l      *lane
	opened bool
	done   int // elements that are here
}

func (f *cast) open() segment {
	c := f.w.c
	if c.rank == f.w.root {
		lo, hi := f.part()
		f.l.push(segment{work: f.w})
		return segment{work: f.w, step: 1, lo: lo, hi: hi, last: true}
	}
	return segment{work: f.w, last: c.following() == f.w.root}
}

// part returns the lane's part of the vector.
func (f *cast) part() (lo, hi int) { return ring.Chunk(f.w.x.len, f.w.lanes, f.l.index) }

func (f *cast) take(h ring.Header, b body) (bool, error) {
	if !f.opened {
		if h.Step != 0 || h.Length != 0 {
			return false, fmt.Errorf("%d bytes, want an empty frame of step 0 first", h.Length)
		}
		f.opened = true
		return f.w.c.rank == f.w.root, nil
	}
	lo, hi := f.part()
	size := f.w.x.typ.Size()
	n := int(h.Length) / size
	if h.Step != 1 || h.Offset != uint64(lo+f.done) || int(h.Length)%size != 0 || n > hi-lo-f.done || n == 0 && lo < hi {
		return false, fmt.Errorf("%d bytes at %d, want some of elements %d to %d", h.Length, h.Offset, lo+f.done, hi)
	}
	s := segment{work: f.w, step: 1, lo: lo + f.done, hi: lo + f.done + n}
	if err := b.fill(f.w.x.Slice(s.lo, s.hi).Bytes()); err != nil {
		return false, err
	}
	f.done += n
	whole := lo+f.done == hi
	if f.w.c.following() != f.w.root {
		s.last = whole
		f.l.forward(s)
	}
	return whole, nil
}

// collect is a gather or a barrier, on lane 0: at step s every peer sends on
// what came at step s-1, and first its own.
type collect struct {
	w    *Work
	l    *lane
	step int // of the frame to come
}

func (f *collect) open() segment {
	c := f.w.c
	mine := f.w.blobs[c.rank]
	s := segment{work: f.w, body: mine, count: len(mine), last: c.size == 2}
	return f.cut(s, f.l.push)
}

// cut gives all frames of s but the last to push, and returns that.
func (f *collect) cut(s segment, push func(segment)) segment {
	for rest := s; ; {
		n := min(len(rest.body), f.w.frame)
		if n == len(rest.body) {
			return rest
		}
		s = rest
		s.body, s.last = rest.body[:n], false
		push(s)
		rest.body, rest.lo = rest.body[n:], rest.lo+n
	}
}

func (f *collect) take(h ring.Header, b body) (bool, error) {
	c := f.w.c
	blob := &f.w.blobs[mod(c.rank-1-f.step, c.size)]
	at := len(*blob)
	if int(h.Step) != f.step || h.Offset != uint64(at) || uint64(h.Length) > h.Count-uint64(at) || h.Length == 0 && h.Count > 0 {
		return false, fmt.Errorf("%d of %d bytes at %d, want step %d at %d", h.Length, h.Count, h.Offset, f.step, at)
	}
	// Memory is taken for what has arrived, not for what is said to come.
	*blob = slices.Grow(*blob, int(h.Length))[:at+int(h.Length)]
	piece := (*blob)[at:]
	if err := b.fill(piece); err != nil {
		return false, err
	}
	whole := uint64(len(*blob)) == h.Count
	if f.step+1 < c.size-1 {
		last := whole && f.step+1 == c.size-2
		s := segment{work: f.w, step: f.step + 1, lo: at, body: piece, count: int(h.Count), last: last}
		f.l.forward(f.cut(s, f.l.forward))
	}
	if whole {
		f.step++
	}
	return f.step == c.size-1, nil
}
