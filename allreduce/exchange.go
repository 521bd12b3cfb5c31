package allreduce

import (
	"fmt"
	"slices"

	"github.com/ringrun/ringrun/ring"
)

// exchange is the all-reduce of a small vector: all vectors go round whole, in
// size-1 steps instead of the 2(size-1) of a relay, and every peer combines
// them itself, each chunk in the order in which a relay would have. So the bits
// are the same. A peer sends size-1 times the vector: with two peers no more
// than a relay, with more peers up to size/2 times as much, which a small vector
// is worth.
type exchange struct {
	w       *Work
	l       *lane
	vectors []byte // by how far away they come from
	step    int    // of the frame to come
	done    int    // elements of it that are here
}

// open sends a copy: results may be written to the vector before it is sent.
func (f *exchange) open() segment {
	c, x := f.w.c, f.w.x
	f.w.enter(x)
	f.vectors = c.buffers.get((c.size - 1) * f.w.bytes)
	mine := c.buffers.get(f.w.bytes)
	copy(mine, x.Bytes())
	return f.cut(segment{work: f.w, body: mine, pooled: true, last: c.size == 2}, f.l.push)
}

// cut gives all frames of s but the last to push, and returns that.
func (f *exchange) cut(s segment, push func(segment)) segment {
	most := f.w.frame * f.w.x.typ.Size()
	for len(s.body) > most {
		s.pooled = false // its pieces are not sent in one
		t := s
		t.body, t.last = s.body[:most], false
		push(t)
		s.body, s.lo = s.body[most:], s.lo+f.w.frame
	}
	return s
}

func (f *exchange) take(h ring.Header, b body) (bool, error) {
	c, x := f.w.c, f.w.x
	size := x.typ.Size()
	n := int(h.Length) / size
	if int(h.Step) != f.step || h.Offset != uint64(f.done) || int(h.Length)%size != 0 || n > x.len-f.done || n == 0 && x.len > 0 {
		return false, fmt.Errorf("%d bytes at %d, want step %d at %d of %d", h.Length, h.Offset, f.step, f.done, x.len)
	}
	at := f.step*f.w.bytes + f.done*size
	piece := f.vectors[at : at+n*size]
	if err := b.fill(piece); err != nil {
		return false, err
	}
	whole := f.done+n == x.len
	if f.step < c.size-2 {
		last := whole && f.step == c.size-3
		f.l.forward(segment{work: f.w, step: f.step + 1, lo: f.done, body: piece, last: last})
	}
	f.done += n
	if whole {
		f.step, f.done = f.step+1, 0
	}
	if f.step < c.size-1 {
		return false, nil
	}
	f.combine()
	return true, nil
}

// combine makes the result of all vectors: of chunk i in the order i+1, i+2, …,
// i. What has been combined so far is the left operand.
func (f *exchange) combine() {
	w := f.w
	size := w.c.size
	if size == 2 {
		defer w.c.buffers.put(f.vectors)
	} else { // some may still be on their way to the next peer
		f.vectors = slices.Clone(f.vectors)
	}
	for i := range size {
		lo, hi := ring.Chunk(w.x.len, size, i)
		acc := f.of(i+1).Slice(lo, hi)
		for k := 2; k <= size; k++ {
			next := f.of(i+k).Slice(lo, hi)
			merge(w.op, next, acc)
			acc = next
		}
		w.leave(acc)
		if i != w.c.rank {
			copy(w.x.Slice(lo, hi).Bytes(), acc.Bytes())
		}
	}
}

// of returns the vector of a rank.
func (f *exchange) of(rank int) Vector {
	w := f.w
	away := mod(w.c.rank-rank, w.c.size)
	if away == 0 {
		return w.x
	}
	return over(f.vectors[(away-1)*w.bytes:], w.x.typ, w.x.len)
}
