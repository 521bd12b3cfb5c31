package allreduce

import (
	"encoding/binary"
	"fmt"

	"github.com/ringrun/ringrun/ring"
)

// relay does what a route says, on one lane: receive a segment, merge or copy
// it, pass it on. For an all-reduce that is the ring algorithm: 2(size-1) steps,
// in each of which a peer sends 1/size of the vector; see ring.Steps.
//
// Lanes share every leg between them, and the chunks are those of the whole
// vector, so the order of the additions does not depend on lanes or frames.
//
// Segments are sent from the vector itself. That is safe: an element is
// overwritten only by a value that was made, somewhere on the ring, of the one
// that we have sent from that place.
//
// With a codec each peer decodes the partial result, merges its own elements
// and encodes the sum. In an all-reduce the owner of a chunk encodes the result
// and adopts what its codec made of it; the others decode and pass on the very
// same bytes.
type relay struct {
	w       *Work
	l       *lane
	route   route
	greeted bool
	waves   waves
	done    int // elements of the piece to come that are here
}

// countBytes is the size of the number of elements before encoded ones.
const countBytes = 4

// share cuts a leg down to the lane's share of it, and that to one of its pieces.
func (f *relay) share(g leg, piece int) leg {
	a, b := ring.Chunk(g.hi-g.lo, f.w.lanes, f.l.index)
	c, d := ring.Chunk(b-a, f.waves.pieces, piece)
	g.lo, g.hi = g.lo+a+c, g.lo+a+d
	return g
}

func (f *relay) open() segment {
	legs, _ := f.route.arrivals()
	f.waves = waves{pieces: f.pieces(), legs: legs}
	var all []segment
	if f.route.greets() {
		all = append(all, segment{work: f.w})
	}
	for _, g := range f.route.opening() {
		for piece := range min(f.waves.pieces, waveAhead) {
			all = append(all, f.opening(g, piece))
		}
	}
	last := len(all) - 1
	for _, s := range all[:last] {
		f.l.push(s)
	}
	_, onward := f.route.arrivals()
	all[last].last = onward == 0 && f.waves.pieces <= waveAhead
	return all[last]
}

// opening returns a piece of what is sent before anything has arrived.
func (f *relay) opening(g leg, piece int) segment {
	g = f.share(g, piece)
	return segment{work: f.w, step: g.step, piece: piece, lo: g.lo, hi: g.hi, encode: f.w.codec != nil, fresh: true}
}

// pieces returns into how many pieces a leg is cut.
func (f *relay) pieces() int {
	switch f.route.kind {
	case allReduce, reduceScatter, allGather:
		return max(1, f.w.bytes/f.w.c.size/f.w.lanes/min(waveBytes, waveFrames*f.w.c.ring.FrameBytes()))
	}
	return 1
}

// further queues the next piece of the opening, when the first leg of one has
// arrived.
func (f *relay) further() {
	piece := f.waves.piece + waveAhead
	if f.waves.leg > 0 || piece >= f.waves.pieces {
		return
	}
	_, onward := f.route.arrivals()
	s := f.opening(f.route.opening()[0], piece)
	s.last = onward == 0 && piece == f.waves.pieces-1
	f.l.forward(s)
}

func (f *relay) take(h ring.Header, b body) (bool, error) {
	all, onward := f.route.arrivals()
	if f.route.greets() && !f.greeted {
		if h.Step != 0 || h.Length != 0 {
			return false, fmt.Errorf("%d bytes, want an empty frame of step 0 first", h.Length)
		}
		f.greeted = true
		return all == 0, nil
	}
	g := f.share(f.route.arrival(f.waves.leg), f.waves.piece)
	if int(h.Step) != g.step || h.Offset != uint64(g.lo+f.done) {
		return false, fmt.Errorf("segment at %d, want step %d at %d", h.Offset, g.step, g.lo+f.done)
	}
	s, n, err := f.work(g, int(h.Length), b)
	if err != nil {
		return false, err
	}
	if n == 0 && g.lo < g.hi {
		return false, fmt.Errorf("empty segment of %d elements", g.hi-g.lo)
	}
	s.work, s.step, s.piece, s.lo, s.hi = f.w, g.next, f.waves.piece, g.lo+f.done, g.lo+f.done+n
	f.done += n
	whole := g.lo+f.done == g.hi
	if f.waves.leg < onward {
		s.last = whole && f.waves.leg == onward-1 && f.waves.piece == f.waves.pieces-1
		f.l.forward(s)
	} else if s.pooled {
		f.w.c.buffers.put(s.body)
	}
	if !whole {
		return false, nil
	}
	f.further()
	f.done = 0
	return !f.waves.next(), nil
}

// work takes in the elements of one frame, and returns how many there are and
// how they go on: as they lie in the vector, as they came, or encoded anew.
func (f *relay) work(g leg, length int, b body) (s segment, n int, err error) {
	x := f.w.x.Slice(g.lo+f.done, g.hi)
	if f.w.codec == nil {
		n, err = f.takeRaw(g, x, length, b)
		return segment{}, n, err
	}
	return f.takeEncoded(g, x, length, b)
}

// takeRaw merges or copies the elements at the start of x and returns how many.
func (f *relay) takeRaw(g leg, x Vector, length int, b body) (int, error) {
	size := x.typ.Size()
	n := length / size
	if length%size != 0 || n > x.len {
		return 0, fmt.Errorf("%d bytes of %v, want at most %d elements", length, x.typ, x.len)
	}
	if !g.merge {
		return n, b.fill(x.Slice(0, n).Bytes())
	}
	for at := 0; at < n; {
		p, err := b.next((n - at) * size)
		if err != nil {
			return 0, err
		}
		k := len(p) / size
		f.w.merge(x.Slice(at, at+k), over(p, x.typ, k), g.final)
		at += k
	}
	return n, nil
}

// takeEncoded does the same with encoded elements.
func (f *relay) takeEncoded(g leg, x Vector, length int, b body) (segment, int, error) {
	n, err := f.count(x, length, b)
	if err != nil {
		return segment{}, 0, err
	}
	c, codec := f.w.c, f.w.codec
	enc := c.buffers.get(length)
	binary.LittleEndian.PutUint32(enc, uint32(n))
	if err := b.fill(enc[countBytes:]); err != nil {
		return segment{}, 0, err
	}
	x = x.Slice(0, n)
	if !g.merge {
		err := codec.Decode(x, enc[countBytes:])
		return segment{body: enc, pooled: true}, n, err
	}
	dec := c.buffers.get(n * x.typ.Size())
	came := over(dec, x.typ, n)
	if err = codec.Decode(came, enc[countBytes:]); err == nil {
		f.w.merge(x, came, g.final)
	}
	c.buffers.put(dec)
	c.buffers.put(enc)
	return segment{encode: true, adopt: g.final && codec.Lossy()}, n, err
}

// count reads how many elements are encoded, and checks that they can be.
func (f *relay) count(x Vector, length int, b body) (int, error) {
	if most := f.w.c.ring.FrameBytes(); length < countBytes || length > most {
		return 0, fmt.Errorf("%d bytes of encoded elements, want %d to %d", length, countBytes, most)
	}
	var p [countBytes]byte
	if err := b.fill(p[:]); err != nil {
		return 0, err
	}
	n := binary.LittleEndian.Uint32(p[:])
	if uint64(n) > uint64(x.len) {
		return 0, fmt.Errorf("%d encoded elements, want at most %d", n, x.len)
	}
	if most := f.w.codec.Bound(x.typ, int(n)); length-countBytes > most {
		return 0, fmt.Errorf("%d bytes for %d encoded elements, want at most %d", length-countBytes, n, most)
	}
	return int(n), nil
}

// write returns what is sent as the body of a segment of the vector.
func (w *Work) write(s *segment) []byte {
	x := w.x.Slice(s.lo, s.hi)
	if s.fresh {
		w.enter(x)
	}
	if !s.encode {
		return x.Bytes()
	}
	b := w.c.buffers.get(countBytes + w.codec.Bound(x.typ, x.len))
	b = binary.LittleEndian.AppendUint32(b[:0], uint32(x.len))
	b = w.codec.AppendTo(b, x)
	s.pooled = true
	if s.adopt {
		if err := w.codec.Decode(x, b[countBytes:]); err != nil {
			panic(fmt.Sprintf("allreduce: codec %s cannot read what it wrote: %v", w.codec.Name(), err))
		}
	}
	return b
}
