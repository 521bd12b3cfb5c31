package allreduce

import (
	"encoding/binary"
	"fmt"

	"github.com/ringrun/ringrun/ring"
)

// relay is the ring algorithm on one lane: receive a segment, merge or copy it,
// pass it on. With size peers there are 2(size-1) steps, in each of which a peer
// sends 1/size of the vector; see ring.Steps.
//
// Lanes share every chunk between them, and the chunks are those of the whole
// vector, so the order of the additions does not depend on lanes or frames.
//
// Segments are sent from the vector itself. That is safe: an element is
// overwritten only by a value that was made, somewhere on the ring, of the one
// that we have sent from that place.
//
// With a codec each peer decodes the partial result, merges its own elements
// and encodes the sum. The owner of a chunk encodes the result and adopts what
// its codec made of it; the others decode and pass on the very same bytes.
type relay struct {
	w    *Work
	l    *lane
	step int // of the frame to come
	done int // elements of it that are here
}

// countBytes is the size of the number of elements before encoded ones.
const countBytes = 4

// part returns the lane's part of a chunk.
func (f *relay) part(chunk int) (lo, hi int) {
	lo, hi = ring.Chunk(f.w.x.len, f.w.c.size, chunk)
	a, b := ring.Chunk(hi-lo, f.w.lanes, f.l.index)
	return lo + a, lo + b
}

func (f *relay) open() segment {
	lo, hi := f.part(ring.SendChunk(f.w.c.rank, f.w.c.size, 0))
	return segment{work: f.w, lo: lo, hi: hi, encode: f.w.codec != nil}
}

func (f *relay) take(h ring.Header, b body) (bool, error) {
	c := f.w.c
	lo, hi := f.part(ring.RecvChunk(c.rank, c.size, f.step))
	if int(h.Step) != f.step || h.Offset != uint64(lo+f.done) {
		return false, fmt.Errorf("segment at %d, want step %d at %d", h.Offset, f.step, lo+f.done)
	}
	x := f.w.x.Slice(lo+f.done, hi)
	n, s, err := 0, segment{}, error(nil)
	if f.w.codec == nil {
		n, err = f.takeRaw(x, int(h.Length), b)
	} else {
		n, s, err = f.takeEncoded(x, int(h.Length), b)
	}
	if err != nil {
		return false, err
	}
	if n == 0 && lo < hi {
		return false, fmt.Errorf("empty segment of a chunk of %d elements", hi-lo)
	}
	s.work, s.step, s.lo, s.hi = f.w, f.step+1, lo+f.done, lo+f.done+n
	f.done += n
	whole := lo+f.done == hi
	if steps := ring.Steps(c.size); s.step < steps {
		s.last = whole && s.step == steps-1
		f.l.forward(s)
	} else if s.pooled {
		c.buffers.put(s.body)
	}
	if whole {
		f.step, f.done = f.step+1, 0
	}
	return f.step == ring.Steps(c.size), nil
}

// takeRaw merges or copies the elements at the start of x and returns how many.
func (f *relay) takeRaw(x Vector, length int, b body) (int, error) {
	size := x.typ.Size()
	n := length / size
	if length%size != 0 || n > x.len {
		return 0, fmt.Errorf("%d bytes of %v, want at most %d elements", length, x.typ, x.len)
	}
	if !ring.Reduces(f.w.c.size, f.step) {
		return n, b.fill(x.Slice(0, n).Bytes())
	}
	for at := 0; at < n; {
		p, err := b.next((n - at) * size)
		if err != nil {
			return 0, err
		}
		k := len(p) / size
		f.merge(x.Slice(at, at+k), over(p, x.typ, k))
		at += k
	}
	return n, nil
}

// takeEncoded does the same with encoded elements. In the segment that it
// returns is how they go on: as they are, or encoded anew.
func (f *relay) takeEncoded(x Vector, length int, b body) (int, segment, error) {
	n, err := f.count(x, length, b)
	if err != nil {
		return 0, segment{}, err
	}
	c := f.w.c
	enc := c.buffers.get(length)
	binary.LittleEndian.PutUint32(enc, uint32(n))
	if err := b.fill(enc[countBytes:]); err != nil {
		return 0, segment{}, err
	}
	x = x.Slice(0, n)
	if !ring.Reduces(c.size, f.step) {
		err := f.w.codec.Decode(x, enc[countBytes:])
		return n, segment{body: enc, pooled: true}, err
	}
	dec := c.buffers.get(n * x.typ.Size())
	came := over(dec, x.typ, n)
	if err = f.w.codec.Decode(came, enc[countBytes:]); err == nil {
		f.merge(x, came)
	}
	c.buffers.put(dec)
	c.buffers.put(enc)
	return n, segment{encode: true}, err
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

// merge adds what came from the previous peer to our elements. The last peer to
// do so, the owner, also divides a mean. A lossy codec may have a small range:
// then every peer divides what it contributes.
func (f *relay) merge(mine, came Vector) {
	w := f.w
	if w.dividesEarly() {
		average(mine, w.c.size)
	}
	merge(w.op, mine, came)
	if w.op == Mean && !w.dividesEarly() && f.step == w.c.size-2 {
		average(mine, w.c.size)
	}
}

func (w *Work) dividesEarly() bool {
	return w.op == Mean && w.codec != nil && w.codec.Lossy()
}

// write returns what is sent as the body of a segment of the vector.
func (w *Work) write(s *segment) []byte {
	x := w.x.Slice(s.lo, s.hi)
	if !s.encode {
		return x.Bytes()
	}
	if s.step == 0 && w.dividesEarly() {
		average(x, w.c.size)
	}
	b := w.c.buffers.get(countBytes + w.codec.Bound(x.typ, x.len))
	b = binary.LittleEndian.AppendUint32(b[:0], uint32(x.len))
	b = w.codec.AppendTo(b, x)
	s.pooled = true
	if s.step == w.c.size-1 && w.codec.Lossy() {
		if err := w.codec.Decode(x, b[countBytes:]); err != nil {
			panic(fmt.Sprintf("allreduce: codec %s cannot read what it wrote: %v", w.codec.Name(), err))
		}
	}
	return b
}
