package allreduce

import (
	"fmt"

	"github.com/ringrun/ringrun/ring"
)

// A wheel is the all-reduce of a small vector over chords: at step k every peer
// sends all vectors that it has, its own first, to the peer that is 2^k further
// on. After the steps 0, 1, 2, …, of which there are log2(size), rounded up, all
// have all of them; the last one may be sent before those that it needs nothing
// of (Bruck, Ho, Kipnis, Upfal and Weathersby, "Efficient
// algorithms for all-to-all communications in multiport message-passing
// systems", 1997). As in an exchange every peer then combines them itself, each
// chunk in the order in which a relay would have, so the bits are the same.
//
// A barrier is the same without vectors.
type wheel struct {
	w       *Work
	block   int      // elements of one vector
	size    int      // bytes of an element
	vectors []byte   // by how far away they come from; the first is a copy of ours
	spokes  []*spoke // by step

}

// A spoke is one step of a wheel, on a lane of its own.
type spoke struct {
	wheel  *wheel
	l      *lane
	step   int
	blocks int // how many vectors are sent in the step, and received
	done   int // elements that are here

	sent, here bool // the step's vectors, whole; guarded by c.mu
}

// newWheel copies our vector: results are written to it before all is sent.
func newWheel(w *Work) *wheel {
	d := &wheel{w: w, size: 1}
	if w.kind == allReduce {
		d.block, d.size = w.x.len, w.x.typ.Size()
		w.enter(w.x)
	}
	d.vectors = w.c.buffers.get(w.c.size * d.block * d.size)
	copy(d.vectors, w.x.Bytes())
	after := w.after
	w.after = func() { // nothing is on its way any more
		w.c.buffers.put(d.vectors)
		if after != nil {
			after()
		}
	}
	return d
}

// spoke returns the flow of a lane. The first to ask makes the wheel.
func (w *Work) spoke(l *lane) *spoke {
	d, c := w.wheel, w.c
	if d == nil {
		d = newWheel(w)
		w.wheel = d
	}
	f := &spoke{wheel: d, l: l, step: len(d.spokes), blocks: min(l.stride, c.size-l.stride)}
	d.spokes = append(d.spokes, f)
	return f
}

func (f *spoke) open() segment {
	if f.blocks > 1 {
		return segment{}
	}
	return f.send()
}

// send queues all frames of the step but the last, which it returns.
func (f *spoke) send() segment {
	d := f.wheel
	f.sent = true
	s := segment{work: d.w, step: f.step, body: d.vectors[:f.blocks*d.block*d.size], last: true}
	for most := d.w.frame * d.size; len(s.body) > most; {
		t := s
		t.body, t.last = s.body[:most], false
		f.l.push(t)
		s.body, s.lo = s.body[most:], s.lo+d.w.frame
	}
	return s
}

func (f *spoke) take(h ring.Header, b body) (bool, error) {
	d := f.wheel
	n, all := int(h.Length)/d.size, f.blocks*d.block
	if int(h.Step) != f.step || h.Offset != uint64(f.done) || int(h.Length)%d.size != 0 || n > all-f.done || n == 0 && all > 0 {
		return false, fmt.Errorf("%d bytes at %d, want step %d at %d of %d", h.Length, h.Offset, f.step, f.done, all)
	}
	at := f.l.stride*d.block + f.done
	if err := b.fill(d.vectors[at*d.size : (at+n)*d.size]); err != nil {
		return false, err
	}
	if f.done += n; f.done < all {
		return false, nil
	}
	if d.arrived(f) && d.w.kind == allReduce {
		d.combine()
	}
	return true, nil
}

// arrived notes that a step's vectors are here, sends what can now be sent, and
// reports whether it was the last of all steps.
func (d *wheel) arrived(step *spoke) bool {
	d.w.c.mu.Lock()
	defer d.w.c.mu.Unlock()
	step.here = true
	have := 1 // vectors, from ours on
	for _, f := range d.spokes {
		if !f.sent && f.blocks <= have {
			f.l.push(f.send())
		}
		if f.here && have == f.l.stride {
			have += f.blocks
		}
	}
	return have == d.w.c.size
}

// combine makes the result of all vectors: of chunk i in the order i+1, i+2, …,
// i. The vectors themselves stay as they are: some are still being sent.
func (d *wheel) combine() {
	w := d.w
	n := w.c.size
	t := newTerms(n)
	for i := range n {
		lo, hi := ring.Chunk(d.block, n, i)
		if lo == hi {
			continue
		}
		for k := range n {
			t.order[k] = over(d.of(i+1+k), w.x.typ, d.block).Slice(lo, hi)
		}
		t.reduce(w, w.x.Slice(lo, hi), Vector{})
	}
}

// of returns the vector of a rank.
func (d *wheel) of(rank int) []byte {
	away := mod(d.w.c.rank-rank, d.w.c.size)
	return d.vectors[away*d.block*d.size:]
}
