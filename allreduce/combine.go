package allreduce

import "github.com/ringrun/ringrun/allreduce/internal/simd"

// combineBytes is how much is combined without a pause in which the garbage
// collector can stop the goroutine.
const combineBytes = 1 << 20

// Combine stores the sum of xs, in their order, times by, in each of dsts, in
// one pass over memory. All must have the length and the type of the first of
// dsts, float32 or float64, else it panics. A dst may be one of xs.
func Combine(dsts, xs []Vector, by float64) {
	n := dsts[0].len
	step := combineBytes / dsts[0].typ.Size()
	for lo := 0; lo < n; lo += step {
		hi := min(lo+step, n)
		if dsts[0].typ == Float32 {
			combine(&simd.Float32, parts[float32](dsts, lo, hi), parts[float32](xs, lo, hi), float32(by))
		} else {
			combine(&simd.Float64, parts[float64](dsts, lo, hi), parts[float64](xs, lo, hi), by)
		}
	}
}

func parts[T float32 | float64](all []Vector, lo, hi int) [][]T {
	out := make([][]T, len(all))
	for i, x := range all {
		out[i] = Elements[T](x)[lo:hi:hi]
	}
	return out
}

func combine[T float32 | float64](k *simd.Kernels[T], dsts, xs [][]T, by T) {
	switch {
	case by != 1:
		k.SumScale(dsts, xs, by)
	case len(xs) > 1:
		k.Sum(dsts, xs)
	default:
		for _, d := range dsts {
			copy(d, xs[0])
		}
	}
}
