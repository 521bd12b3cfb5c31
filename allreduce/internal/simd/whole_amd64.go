//go:build !noasm

package simd

import "unsafe"

// The loops in assembly take whole vectors, or whole blocks. The functions here
// make kernels of them: they check the lengths, as the plain forms do, and leave
// the rest of a slice to those.

// loops are those for one type, and how many elements a vector has.
type loops[T Number] struct {
	lanes              int
	add, min, max, mul func(dst, src *T, n int)
	scale              func(dst *T, by T, n int)
	addScale           func(dst, src *T, by T, n int)
	sum                func(dsts *[]T, ndsts int, srcs *[]T, nsrcs int, n int)
	sumScale           func(dsts *[]T, ndsts int, srcs *[]T, nsrcs int, by T, n int)
}

func (l loops[T]) kernels() Kernels[T] {
	return Kernels[T]{
		Add: pairs(l.lanes, l.add, add[T]),
		Min: pairs(l.lanes, l.min, minimum[T]),
		Max: pairs(l.lanes, l.max, maximum[T]),
		Mul: pairs(l.lanes, l.mul, mul[T]),
		Scale: func(dst []T, by T) {
			n := len(dst) &^ (l.lanes - 1)
			if n > 0 {
				l.scale(&dst[0], by, n)
			}
			scale(dst[n:], by)
		},
		AddScale: func(dst, src []T, by T) {
			src = src[:len(dst)]
			n := len(dst) &^ (l.lanes - 1)
			if n > 0 {
				l.addScale(&dst[0], &src[0], by, n)
			}
			addScale(dst[n:], src[n:], by)
		},
		Sum: sums(l.lanes, l.sum),
		SumScale: func(dsts, srcs [][]T, by T) {
			n := common(dsts, srcs) &^ (l.lanes - 1)
			if n > 0 {
				l.sumScale(&dsts[0], len(dsts), &srcs[0], len(srcs), by, n)
			}
			sumScale(dsts, srcs, by, n)
		},
	}
}

func pairs[T Number](lanes int, whole func(dst, src *T, n int), rest func(dst, src []T)) func(dst, src []T) {
	return func(dst, src []T) {
		src = src[:len(dst)]
		n := len(dst) &^ (lanes - 1)
		if n > 0 {
			whole(&dst[0], &src[0], n)
		}
		rest(dst[n:], src[n:])
	}
}

func sums[T Number](lanes int, whole func(dsts *[]T, ndsts int, srcs *[]T, nsrcs int, n int)) func(dsts, srcs [][]T) {
	return func(dsts, srcs [][]T) {
		n := common(dsts, srcs) &^ (lanes - 1)
		if n > 0 {
			whole(&dsts[0], len(dsts), &srcs[0], len(srcs), n)
		}
		sum(dsts, srcs, n)
	}
}

// common returns the length of the first of dsts, which all others must have.
func common[T any](dsts, srcs [][]T) int {
	n := len(dsts[0])
	_ = srcs[0]
	for _, d := range dsts {
		_ = d[:n:len(d)]
	}
	for _, s := range srcs {
		_ = s[:n:len(s)]
	}
	return n
}

func conversion[D, S any](lanes int, whole func(dst *D, src *S, n int), rest func(dst []D, src []S)) func(dst []D, src []S) {
	return func(dst []D, src []S) {
		src = src[:len(dst)]
		n := len(dst) &^ (lanes - 1)
		if n > 0 {
			whole(&dst[0], &src[0], n)
		}
		rest(dst[n:], src[n:])
	}
}

func greatest(lanes int, parts func(dst, x *float32, parts, n int)) func(x []float32) float32 {
	return func(x []float32) float32 {
		var both [2]float32
		n := len(x) &^ (lanes - 1)
		if n > 0 {
			parts(&both[0], &x[0], 1, n)
		}
		both[1] = maxAbs(x[n:])
		return maxAbs(both[:])
	}
}

func blockMaxima(parts func(dst, x *float32, parts, n int)) func(dst, x []float32) {
	return func(dst, x []float32) {
		n := len(x) / BlockLen
		if n > 0 {
			parts(&dst[0], &x[0], n, BlockLen)
		}
		maxima(dst[n:], x[n*BlockLen:])
	}
}

func rounding(whole func(q *int8, x, by *float32, blocks int)) func(q []int8, x, by []float32) {
	return func(q []int8, x, by []float32) {
		n := len(x) / BlockLen
		if n > 0 {
			whole(&q[0], &x[0], &by[0], n)
		}
		round(q[n*BlockLen:], x[n*BlockLen:], by[n:])
	}
}

func dequantising(whole func(dst *float32, q *int8, scales *float32, blocks int),
	rest func(dst []float32, q []int8, scales []float32)) func(dst []float32, q []int8, scales []float32) {
	return func(dst []float32, q []int8, scales []float32) {
		q, scales = q[:len(dst)], scales[:Blocks(len(dst))]
		n := len(dst) / BlockLen
		if n > 0 {
			whole(&dst[0], &q[0], &scales[0], n)
		}
		rest(dst[n*BlockLen:], q[n*BlockLen:], scales[n:])
	}
}

// lineBytes is the size of a line of the caches, and of the largest vector.
const lineBytes = 64

// streaming begins and ends with an ordinary copy: the stores past the caches
// need whole lines.
func streaming(whole func(dst, src *byte, n int)) func(dst, src []byte) {
	return func(dst, src []byte) {
		src = src[:len(dst)]
		if len(dst) >= 2*lineBytes {
			head := int(-uintptr(unsafe.Pointer(&dst[0])) % lineBytes)
			copy(dst[:head], src)
			n := (len(dst) - head) &^ (lineBytes - 1)
			whole(&dst[head], &src[head], n)
			dst, src = dst[head+n:], src[head+n:]
		}
		copy(dst, src)
	}
}
