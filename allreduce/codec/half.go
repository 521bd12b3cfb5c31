package codec

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sync"

	"github.com/ringrun/ringrun/allreduce"
	"github.com/ringrun/ringrun/allreduce/internal/simd"
)

// Half sends floats as IEEE 754 binary16: two bytes, eleven bits of precision,
// nothing above 65504 (that becomes an infinity) and steps of 2^-24 below 2^-14.
// A partial sum is rounded once by each peer that it passes. Integers go raw.
type Half struct{}

// ID returns 1.
func (Half) ID() uint8 { return 1 }

// Name returns "half".
func (Half) Name() string { return "half" }

// Supports reports whether t is a type of floats.
func (Half) Supports(t allreduce.Type) bool {
	return t == allreduce.Float32 || t == allreduce.Float64
}

// Lossy returns true.
func (Half) Lossy() bool { return true }

// Bound returns two bytes for each element.
func (Half) Bound(_ allreduce.Type, n int) int { return 2 * n }

// halfBlock is how many elements are converted at a time.
const halfBlock = 1024

type halfScratch struct {
	floats [halfBlock]float32
	halves [halfBlock]uint16
}

var halfPool = sync.Pool{New: func() any { return new(halfScratch) }}

// AppendTo rounds the elements of x, those of a float64 by way of float32.
func (Half) AppendTo(b []byte, x allreduce.Vector) []byte {
	n := len(b)
	b = slices.Grow(b, 2*x.Len())[:n+2*x.Len()]
	if h, ok := halves(b[n:]); ok && x.Type() == allreduce.Float32 {
		simd.HalfFromFloat32(h, allreduce.Elements[float32](x))
		return b
	}
	s := halfPool.Get().(*halfScratch)
	defer halfPool.Put(s)
	for lo := 0; lo < x.Len(); lo += halfBlock {
		hi := min(lo+halfBlock, x.Len())
		h := s.halves[:hi-lo]
		simd.HalfFromFloat32(h, s.load(x.Slice(lo, hi)))
		for i, u := range h {
			binary.LittleEndian.PutUint16(b[n+2*(lo+i):], u)
		}
	}
	return b
}

// load returns the elements of x as float32.
func (s *halfScratch) load(x allreduce.Vector) []float32 {
	if x.Type() == allreduce.Float32 {
		return allreduce.Elements[float32](x)
	}
	f := s.floats[:x.Len()]
	for i, v := range allreduce.Elements[float64](x) {
		f[i] = float32(v)
	}
	return f
}

// Decode reads the elements back, exactly.
func (Half) Decode(x allreduce.Vector, b []byte) error {
	if len(b) != 2*x.Len() {
		return fmt.Errorf("codec: half: %d bytes for %d elements", len(b), x.Len())
	}
	if h, ok := halves(b); ok && x.Type() == allreduce.Float32 {
		simd.Float32FromHalf(allreduce.Elements[float32](x), h)
		return nil
	}
	s := halfPool.Get().(*halfScratch)
	defer halfPool.Put(s)
	for lo := 0; lo < x.Len(); lo += halfBlock {
		hi := min(lo+halfBlock, x.Len())
		h := s.halves[:hi-lo]
		for i := range h {
			h[i] = binary.LittleEndian.Uint16(b[2*(lo+i):])
		}
		s.store(x.Slice(lo, hi), h)
	}
	return nil
}

// store converts halves into the elements of x.
func (s *halfScratch) store(x allreduce.Vector, h []uint16) {
	if x.Type() == allreduce.Float32 {
		simd.Float32FromHalf(allreduce.Elements[float32](x), h)
		return
	}
	f := s.floats[:len(h)]
	simd.Float32FromHalf(f, h)
	d := allreduce.Elements[float64](x)
	for i, v := range f {
		d[i] = float64(v)
	}
}
