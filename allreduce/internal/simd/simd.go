// Package simd holds the loops that all data goes through: reductions of one
// slice into another, scaling, and conversions. Every loop has a plain form;
// an assembly form may take its place for some types and processors, and must
// then give the same bits.
package simd

// Number is an element type with kernels.
type Number interface {
	float32 | float64 | int32 | int64
}

// Kernels are the loops over elements of one type. Each works on the first
// len(dst) elements; src must have at least as many. In all of them src is the
// left operand, dst the right one, and the result goes to dst.
type Kernels[T Number] struct {
	Add, Min, Max, Mul func(dst, src []T)
	Scale              func(dst []T, by T)
}

// The kernels in use.
var (
	Float32 = plain[float32]()
	Float64 = plain[float64]()
	Int32   = plain[int32]()
	Int64   = plain[int64]()
)

func plain[T Number]() Kernels[T] {
	return Kernels[T]{Add: add[T], Min: minimum[T], Max: maximum[T], Mul: mul[T], Scale: scale[T]}
}
