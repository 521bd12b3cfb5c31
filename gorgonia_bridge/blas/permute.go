package blas

import "math"

// permute writes all of src into dst in the order of the indices (i, j, …), of
// which the element is at src[i*strides[0] + j*strides[1] + …].
func permute[T float32 | float64](dst, src []T, shape, strides []int, turn func(dst, src []T, rows, cols, ld int)) {
	var room [2][8]int
	shape, strides = merged(shape, strides, room[0][:0], room[1][:0])
	walk(dst, src, shape, strides, turn)
}

// merged leaves out dimensions of one element, and makes one of two that are
// walked as one.
func merged(shape, strides, newShape, newStrides []int) ([]int, []int) {
	for i, n := range shape {
		last := len(newShape) - 1
		switch {
		case n == 1:
		case last >= 0 && newStrides[last] == n*strides[i]:
			newShape[last] *= n
			newStrides[last] = strides[i]
		default:
			newShape, newStrides = append(newShape, n), append(newStrides, strides[i])
		}
	}
	return newShape, newStrides
}

// walk goes down to the last two dimensions, of which it does a matrix at once.
func walk[T float32 | float64](dst, src []T, shape, strides []int, turn func(dst, src []T, rows, cols, ld int)) {
	switch {
	case len(shape) == 1:
		gather(dst[:shape[0]], src, strides[0])
	case len(shape) == 2 && strides[0] == 1:
		turn(dst, src, shape[0], shape[1], strides[1])
	default:
		each := len(dst) / shape[0]
		for i := range shape[0] {
			walk(dst[i*each:][:each], src[i*strides[0]:], shape[1:], strides[1:], turn)
		}
	}
}

func gather[T float32 | float64](dst, src []T, stride int) {
	if stride == 1 {
		copy(dst, src)
		return
	}
	for i := range dst {
		dst[i] = src[i*stride]
	}
}

// turn transposes: row i and column j of dst is element i + j*ld of src.
func turn[T float32 | float64](dst, src []T, rows, cols, ld int) {
	for i := range rows {
		gather(dst[i*cols:][:cols], src[i:], ld)
	}
}

// plainAtLeast has no branch, because a processor could not foresee it.
func plainAtLeast(dst, src []float32, bound float32) {
	dst = dst[:len(src)]
	for i, v := range src {
		var one uint32
		if v >= bound {
			one = 1
		}
		dst[i] = math.Float32frombits(-one & 0x3f800000)
	}
}
