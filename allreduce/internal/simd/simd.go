// Package simd holds the loops that all data goes through: reductions,
// conversions, quantisation, copies, a hash. Every loop is written plainly in
// Go; for amd64 also in assembly, for AVX2 and for AVX-512, and the best form
// that the processor can run is chosen at start. The build tag noasm leaves the
// plain forms only, GODEBUG=cpu.avx512f=off or cpu.avx2=off turns a level off.
//
// All forms give the same bits, so peers with different processors agree. Only
// where both operands are NaN, Go does not say which payload the result has; and a
// NaN made of numbers, as ∞-∞ is, has a sign on amd64, on arm64 it has none.
//
// Libraries were measured first (ringbench kernels has today's figures).
// github.com/viterin/vek adds float32 as fast as this package, but it knows
// only floats and AVX2, its min and max lose NaN, it neither converts nor
// quantises, and noasm does not turn it off. For the hash github.com/zeebo/xxh3
// is as fast as memory, and it is used.
//
// The assembly is generated: see the folder gen, a module of its own.
package simd

//go:generate go -C gen run . -out ../kernels_amd64.s -stubs ../kernels_amd64.go -pkg simd

// Number is an element type with kernels.
type Number interface {
	float32 | float64 | int32 | int64
}

// Kernels are the loops over elements of one type. Each works on the first
// len(dst) elements; src must have at least as many, and be dst or not overlap
// with it. In all of them src is the left operand, dst the right one, and the
// result goes to dst. Min and Max are NaN if an operand is, as the builtins.
//
// A call cannot be preempted, as copy cannot: callers go through long vectors in
// parts of a few MB, or a collection of garbage waits for them.
type Kernels[T Number] struct {
	Add, Min, Max, Mul func(dst, src []T)
	Scale              func(dst []T, by T)      // dst * by
	AddScale           func(dst, src []T, by T) // (src + dst) * by: Add, then Scale

	// Sum adds up srcs in order, and stores the result in all of dsts, in one
	// pass over memory. SumScale multiplies the result by a factor first. There
	// must be at least one of each; they have as many elements as the first of
	// dsts, or more. A dst may be one of srcs.
	Sum      func(dsts, srcs [][]T)
	SumScale func(dsts, srcs [][]T, by T)
}

// A Set is one form of all kernels.
type Set struct {
	Level string // "go", "avx2" or "avx512"

	Float32 Kernels[float32]
	Float64 Kernels[float64]
	Int32   Kernels[int32]
	Int64   Kernels[int64]

	HalfFromFloat32, BFloat16FromFloat32 func(dst []uint16, src []float32)
	Float32FromHalf, Float32FromBFloat16 func(dst []float32, src []uint16)

	MaxAbs                    func(x []float32) float32
	Quantise                  func(q []int8, scales, x []float32)
	Dequantise, DequantiseAdd func(dst []float32, q []int8, scales []float32)

	Stream func(dst, src []byte)
}

// Sets returns the forms that this processor can run, the best one last.
func Sets() []Set { return append([]Set{plainSet()}, assembly()...) }

var best = func() Set { s := Sets(); return s[len(s)-1] }()

// The kernels in use.
var (
	Float32 = best.Float32
	Float64 = best.Float64
	Int32   = best.Int32
	Int64   = best.Int64
)

var (
	// HalfFromFloat32 rounds float32 to IEEE 754 binary16, to nearest, ties to
	// even. What is too large becomes an infinity; a NaN stays one, made quiet.
	// dst and src have the same length.
	HalfFromFloat32 = best.HalfFromFloat32

	// Float32FromHalf is the inverse, which is exact.
	Float32FromHalf = best.Float32FromHalf

	// BFloat16FromFloat32 rounds float32 to its upper half, as HalfFromFloat32.
	BFloat16FromFloat32 = best.BFloat16FromFloat32

	// Float32FromBFloat16 is the inverse, which is exact.
	Float32FromBFloat16 = best.Float32FromBFloat16

	// MaxAbs returns the greatest magnitude, NaN if any element is, and 0 of
	// nothing.
	MaxAbs = best.MaxAbs

	// Quantise writes x as integers from -127 to 127 in units of a scale,
	// rounded to nearest even. Each block of BlockLen elements, of which the
	// last may be shorter, has a scale of its own: MaxAbs/127. What is lost is
	// at most half a scale. A block with an infinity or a NaN has the scale NaN,
	// so nothing that is decoded from it can pass for a number; one that is zero
	// but for magnitudes below 2^-119 has the scale 0.
	// q must have len(x) elements, scales Blocks(len(x)).
	Quantise = best.Quantise

	// Dequantise is dst = q * scale, the inverse of Quantise.
	Dequantise = best.Dequantise

	// DequantiseAdd is dst = q * scale + dst; both are rounded, as if one came
	// after the other.
	DequantiseAdd = best.DequantiseAdd

	// Stream copies len(dst) bytes past the caches. It pays for destinations
	// that this core will not read soon, if they are larger than its caches:
	// an ordinary store reads the memory first that it is going to overwrite.
	// In the caches copy is faster.
	Stream = best.Stream
)

func plainSet() Set {
	return Set{
		Level:               "go",
		Float32:             plain[float32](),
		Float64:             plain[float64](),
		Int32:               plain[int32](),
		Int64:               plain[int64](),
		HalfFromFloat32:     halves,
		Float32FromHalf:     floats,
		BFloat16FromFloat32: bfloat16s,
		Float32FromBFloat16: floatsOfBFloat16,
		MaxAbs:              maxAbs,
		Quantise:            quantiser{maxima, round}.quantise,
		Dequantise:          dequantise,
		DequantiseAdd:       dequantiseAdd,
		Stream:              func(dst, src []byte) { copy(dst, src[:len(dst)]) },
	}
}

func plain[T Number]() Kernels[T] {
	return Kernels[T]{
		Add: add[T], Min: minimum[T], Max: maximum[T], Mul: mul[T],
		Scale: scale[T], AddScale: addScale[T],
		Sum:      func(dsts, srcs [][]T) { sum(dsts, srcs, 0) },
		SumScale: func(dsts, srcs [][]T, by T) { sumScale(dsts, srcs, by, 0) },
	}
}
