package allreduce

import (
	"context"
	"fmt"

	"github.com/ringrun/ringrun/ring"
)

// AllToAll sends src[d] to rank d and fills dst[s] with what rank s sends here,
// for all ranks; dst[rank] gets a copy of src[rank]. All vectors are of one
// type. Lengths may differ, but dst[s] must be as long as what s sends: if not,
// all peers get ErrMismatch. No dst may share memory with a src.
//
// Blocks are passed on from peer to peer, the furthest first: size-1 steps, and
// with equal blocks a peer sends (size-1)/2 times what it gives away, since a
// block has size/2 hops to go on average. Blocks on their way are buffered. They
// are never encoded.
func (c *Comm) AllToAll(ctx context.Context, dst, src []Vector) error {
	w, err := c.allToAll(dst, src)
	return c.runIf(ctx, w, err)
}

// StartAllToAll begins what AllToAll does, as Start does for AllReduce. Both
// dst and src belong to the Work until it is done.
func (c *Comm) StartAllToAll(dst, src []Vector) *Work {
	w, err := c.allToAll(dst, src)
	return c.startIf(w, err)
}

func (c *Comm) allToAll(dst, src []Vector) (*Work, error) {
	if len(dst) != c.size || len(src) != c.size {
		return nil, fmt.Errorf("%w: all-to-all of %d vectors into %d, with %d ranks", ErrParts, len(src), len(dst), c.size)
	}
	typ, bytes := src[0].typ, 0
	for i := range c.size {
		if err := checkType("all-to-all with", src[i]); err != nil {
			return nil, err
		}
		if src[i].typ != typ || dst[i].typ != typ {
			return nil, fmt.Errorf("%w: all-to-all of vectors of %v, %v and %v", ErrType, typ, src[i].typ, dst[i].typ)
		}
		bytes += len(src[i].Bytes())
	}
	mine := c.rank
	if src[mine].len != dst[mine].len {
		return nil, fmt.Errorf("%w: %d elements for oneself, with room for %d", ErrParts, src[mine].len, dst[mine].len)
	}
	copy(dst[mine].Bytes(), src[mine].Bytes())
	return &Work{kind: allToAll, x: Vector{typ: typ}, swap: &swapped{dst, src}, bytes: bytes}, nil
}

type swapped struct{ dst, src []Vector }

// swap is an all-to-all, on lane 0. A block comes from a peer that is away hops
// behind, and has left hops to go when it is sent to us. First come the blocks
// of the previous peer, the furthest first, then those that it passes on, as
// they came to it. The number of a block in that order is its step.
type swap struct {
	w          *Work
	l          *lane
	away, left int // of the block that arrives; 0: none has yet
	done       int // bytes of it that are here
	disputed   bool
}

// number returns the place of a block among those that arrive.
func (f *swap) number(away, left int) int {
	n := f.w.c.size
	return (away-1)*n - away*(away-1)/2 + n - away - left
}

func (f *swap) open() segment {
	c := f.w.c
	f.away, f.left = 1, c.size-1
	for left := c.size - 1; ; left-- {
		b := f.w.swap.src[mod(c.rank+left, c.size)].Bytes()
		s := segment{work: f.w, step: f.number(1, left), body: b, count: len(b), last: c.size == 2}
		s = cutBody(s, f.w.frame, f.l.push)
		if left == 1 {
			return s
		}
		f.l.push(s)
	}
}

func (f *swap) take(h ring.Header, b body) (bool, error) {
	if f.disputed { // kept frames may still come
		return false, nil
	}
	c := f.w.c
	step := f.number(f.away, f.left)
	if h.Step != uint16(step) || h.Offset != uint64(f.done) || uint64(f.done)+uint64(h.Length) > h.Count || h.Length == 0 && h.Count > 0 {
		return false, fmt.Errorf("%d of %d bytes at %d, want step %d at %d", h.Length, h.Count, h.Offset, step, f.done)
	}
	whole := uint64(f.done)+uint64(h.Length) == h.Count
	if f.left > 1 {
		last := whole && f.away == c.size-2
		if err := f.pass(h, b, last); err != nil {
			return false, err
		}
	} else if err := f.keep(h, b); err != nil || f.disputed {
		return false, err
	}
	f.done += int(h.Length)
	if !whole {
		return false, nil
	}
	f.done = 0
	if f.left--; f.left == 0 {
		f.away++
		f.left = c.size - f.away
	}
	return f.away == c.size, nil
}

// pass sends a frame on.
func (f *swap) pass(h ring.Header, b body, last bool) error {
	p := f.w.c.buffers.get(int(h.Length))
	if err := b.fill(p); err != nil {
		return err
	}
	f.l.forward(segment{
		work: f.w, step: f.number(f.away+1, f.left-1), lo: f.done, body: p, count: int(h.Count), last: last, pooled: true,
	})
	return nil
}

// keep takes in a frame that is for this peer, or opens a dispute about it.
func (f *swap) keep(h ring.Header, b body) error {
	c := f.w.c
	from := mod(c.rank-f.away, c.size)
	dst := f.w.swap.dst[from]
	if h.Count != uint64(len(dst.Bytes())) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.object(fmt.Sprintf("collective %d of epoch %d: in an all-to-all %s sends %d %v to %s, which wants %d",
			f.w.seq, c.ring.Epoch(), c.peers[from], int(h.Count)/dst.typ.Size(), dst.typ, c.peers[c.rank], dst.len))
		f.disputed = true
		return nil
	}
	return b.fill(dst.Bytes()[f.done : f.done+int(h.Length)])
}
