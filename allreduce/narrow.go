package allreduce

import (
	"math"
	"sync"
	"unsafe"

	"github.com/ringrun/ringrun/allreduce/internal/simd"
)

// F16 is a number in IEEE 754 binary16: eleven bits of precision, up to 65504.
// Each addition is made in float32 and rounded to F16: a sum over many peers
// loses bits at every one of them, and a vector in float32 with the codec half
// sends as little. A mean is divided before it is summed, so that it does not
// overflow where its result would not.
type F16 uint16

// BF16 is the upper half of a float32: its range, and eight bits of precision.
// Additions are made in float32 and rounded.
type BF16 uint16

// NewF16 rounds to nearest, ties to even.
func NewF16(f float32) F16 {
	var h [1]uint16
	simd.HalfFromFloat32(h[:], []float32{f})
	return F16(h[0])
}

// Float32 returns the same number.
func (h F16) Float32() float32 {
	var f [1]float32
	simd.Float32FromHalf(f[:], []uint16{uint16(h)})
	return f[0]
}

// NewBF16 rounds to nearest, ties to even. A NaN stays one, made quiet.
func NewBF16(f float32) BF16 {
	u := math.Float32bits(f)
	if f != f {
		return BF16(u>>16 | 0x40)
	}
	return BF16((u + 0x7fff + u>>16&1) >> 16)
}

// Float32 returns the same number.
func (b BF16) Float32() float32 { return math.Float32frombits(uint32(b) << 16) }

// mergeNarrow is merge for elements of one or two bytes, and unsigned ones.
func mergeNarrow(op Op, dst, src Vector) {
	switch dst.typ {
	case Int8:
		mergePlain(op, Elements[int8](dst), Elements[int8](src))
	case Uint8:
		mergePlain(op, Elements[uint8](dst), Elements[uint8](src))
	case Int16:
		mergePlain(op, Elements[int16](dst), Elements[int16](src))
	case Uint16:
		mergePlain(op, Elements[uint16](dst), Elements[uint16](src))
	case Uint32, Uint64:
		mergeUnsigned(op, dst, src)
	case Float16, BFloat16:
		mergeWidened(op, dst, src)
	}
}

// mergeUnsigned adds as if there were signs: the bits are the same.
func mergeUnsigned(op Op, dst, src Vector) {
	sums := op == Sum || op == Mean
	switch {
	case sums && dst.typ == Uint32:
		merge(Sum, dst.as(Int32), src.as(Int32))
	case sums:
		merge(Sum, dst.as(Int64), src.as(Int64))
	case dst.typ == Uint32:
		mergePlain(op, Elements[uint32](dst), Elements[uint32](src))
	default:
		mergePlain(op, Elements[uint64](dst), Elements[uint64](src))
	}
}

// as returns the same memory as elements of another type of the same size.
func (x Vector) as(t Type) Vector { return Vector{x.at, x.len, t} }

func mergePlain[T int8 | uint8 | int16 | uint16 | uint32 | uint64](op Op, dst, src []T) {
	src = src[:len(dst)]
	switch op {
	case Sum, Mean:
		for i := range dst {
			dst[i] += src[i]
		}
	case Min:
		for i := range dst {
			dst[i] = min(src[i], dst[i])
		}
	case Max:
		for i := range dst {
			dst[i] = max(src[i], dst[i])
		}
	case Product:
		for i := range dst {
			dst[i] *= src[i]
		}
	}
}

// mergeBits combines bits, whatever integers they are.
func mergeBits(op Op, dst, src []byte) {
	n := len(dst) &^ 7
	if n > 0 && uintptr(unsafe.Pointer(&dst[0]))%8 == 0 && uintptr(unsafe.Pointer(&src[0]))%8 == 0 {
		d := unsafe.Slice((*uint64)(unsafe.Pointer(&dst[0])), n/8)
		combineBits(op, d, unsafe.Slice((*uint64)(unsafe.Pointer(&src[0])), n/8))
		dst, src = dst[n:], src[n:]
	}
	combineBits(op, dst, src)
}

func combineBits[T uint8 | uint64](op Op, dst, src []T) {
	src = src[:len(dst)]
	if op == And {
		for i := range dst {
			dst[i] &= src[i]
		}
		return
	}
	for i := range dst {
		dst[i] |= src[i]
	}
}

// wideBlock is how many elements are widened at a time.
const wideBlock = 1024

type wideScratch struct{ dst, src [wideBlock]float32 }

var widePool = sync.Pool{New: func() any { return new(wideScratch) }}

// mergeWidened works in float32.
func mergeWidened(op Op, dst, src Vector) {
	s := widePool.Get().(*wideScratch)
	defer widePool.Put(s)
	for lo := 0; lo < dst.len; lo += wideBlock {
		hi := min(lo+wideBlock, dst.len)
		d, f := s.dst[:hi-lo], s.src[:hi-lo]
		widen(d, dst.Slice(lo, hi))
		widen(f, src.Slice(lo, hi))
		merge(op, Of(d), Of(f))
		narrow(dst.Slice(lo, hi), d)
	}
}

// scaleWidened multiplies in float32.
func scaleWidened(x Vector, by float32) {
	s := widePool.Get().(*wideScratch)
	defer widePool.Put(s)
	for lo := 0; lo < x.len; lo += wideBlock {
		part := x.Slice(lo, min(lo+wideBlock, x.len))
		d := s.dst[:part.len]
		widen(d, part)
		simd.Float32.Scale(d, by)
		narrow(part, d)
	}
}

// widen converts x, of a type of 16 bits.
func widen(dst []float32, x Vector) {
	h := halfWords(x)
	if x.typ == Float16 {
		simd.Float32FromHalf(dst, h)
	} else {
		simd.Float32FromBFloat16(dst, h)
	}
}

// narrow is the inverse of widen, and rounds.
func narrow(x Vector, src []float32) {
	h := halfWords(x)
	if x.typ == Float16 {
		simd.HalfFromFloat32(h, src)
	} else {
		simd.BFloat16FromFloat32(h, src)
	}
}

func halfWords(x Vector) []uint16 { return unsafe.Slice((*uint16)(x.at), x.len) }

// averageNarrow is average for what mergeNarrow merges.
func averageNarrow(x Vector, size int) {
	switch x.typ {
	case Int8:
		divideNarrow(Elements[int8](x), size)
	case Uint8:
		divideNarrow(Elements[uint8](x), size)
	case Int16:
		divideNarrow(Elements[int16](x), size)
	case Uint16:
		divideNarrow(Elements[uint16](x), size)
	case Uint32:
		divide(Elements[uint32](x), uint32(size))
	case Uint64:
		divide(Elements[uint64](x), uint64(size))
	case Float16, BFloat16:
		scaleWidened(x, 1/float32(size))
	}
}

// divideNarrow divides in int: a ring may have more peers than an int8 can count.
func divideNarrow[T int8 | uint8 | int16 | uint16](x []T, by int) {
	for i := range x {
		x[i] = T(int(x[i]) / by)
	}
}

// scale multiplies floats; the factor is rounded to their type first, or to
// float32 for those of 16 bits.
func scale(x Vector, by float64) {
	switch x.typ {
	case Float32:
		simd.Float32.Scale(Elements[float32](x), float32(by))
	case Float64:
		simd.Float64.Scale(Elements[float64](x), by)
	default:
		scaleWidened(x, float32(by))
	}
}
