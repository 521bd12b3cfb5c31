package allreduce

import (
	"github.com/ringrun/ringrun/allreduce/internal/simd"
)

// Op says what a collective does with the vectors of all peers.
type Op uint8

// The operations of an all-reduce. Their numbers are part of the wire format.
// Sums and products of integers wrap around; a mean of integers is the sum
// divided by the number of peers, rounded towards zero. Min and Max of floats
// are NaN if any operand is.
const (
	Sum Op = iota
	Mean
	Min
	Max
	Product
	And // bit by bit, of integers
	Or  // likewise
)

// What the other collectives put in the same place of the header.
const (
	broadcast Op = iota + 16
	gather
	barrier
	notice // not a collective: see dispute
)

// String returns the name of the operation in lower case.
func (op Op) String() string {
	switch op {
	case Sum:
		return "sum"
	case Mean:
		return "mean"
	case Min:
		return "min"
	case Max:
		return "max"
	case Product:
		return "product"
	case And:
		return "and"
	case Or:
		return "or"
	case broadcast:
		return "broadcast"
	case gather:
		return "gather"
	case barrier:
		return "barrier"
	}
	return kindName(op)
}

// merge combines src, which came from the previous peer, with dst, which is
// ours, into dst.
func merge(op Op, dst, src Vector) {
	if op == And || op == Or {
		mergeBits(op, dst.Bytes(), src.Bytes())
		return
	}
	switch dst.typ {
	case Float32:
		apply(&simd.Float32, op, Elements[float32](dst), Elements[float32](src))
	case Float64:
		apply(&simd.Float64, op, Elements[float64](dst), Elements[float64](src))
	case Int32:
		apply(&simd.Int32, op, Elements[int32](dst), Elements[int32](src))
	case Int64:
		apply(&simd.Int64, op, Elements[int64](dst), Elements[int64](src))
	default:
		mergeNarrow(op, dst, src)
	}
}

func apply[T simd.Number](k *simd.Kernels[T], op Op, dst, src []T) {
	switch op {
	case Sum, Mean:
		k.Add(dst, src)
	case Min:
		k.Min(dst, src)
	case Max:
		k.Max(dst, src)
	case Product:
		k.Mul(dst, src)
	}
}

// average divides x by the number of peers. Floats are multiplied by the
// rounded 1/size: cheaper, and the owner of a chunk is the only one to do it.
func average(x Vector, size int) {
	switch x.typ {
	case Float32:
		simd.Float32.Scale(Elements[float32](x), 1/float32(size))
	case Float64:
		simd.Float64.Scale(Elements[float64](x), 1/float64(size))
	case Int32:
		divide(Elements[int32](x), int32(size))
	case Int64:
		divide(Elements[int64](x), int64(size))
	default:
		averageNarrow(x, size)
	}
}

func divide[T int32 | int64 | uint32 | uint64](x []T, by T) {
	for i := range x {
		x[i] /= by
	}
}
