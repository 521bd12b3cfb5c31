package blas

// A tile multiplies k columns of a packed strip of A by k rows of a strip of B,
// which are step elements apart, and stores the result in C, of which the rows
// are ldc elements apart, or adds it there.
type tile func(k int, a, b []float32, step int, c []float32, ldc int, add bool)

// A kernel is the innermost loops for one kind of processor.
type kernel struct {
	name        string
	tiles       []tile // by rows; all are right.width columns wide
	left, right packer
	dot         func(x, y []float32) float32 // of equal length
	unpacked    int                          // with so many rows or fewer, B need not be packed
	latency     int                          // fewer rows are not faster

	// For the engine.
	turn    func(dst, src []float32, rows, cols, ld int) // transposes, see turn
	atLeast func(dst, src []float32, bound float32)      // 1 where src ≥ bound, else 0

	add, mul func(dst, x, y []float32) // element by element; dst may be x or y
}

// cost is how many multiplications a product of m×n elements of C takes, by
// element of its depth.
func (kern *kernel) cost(m, n int) int {
	wide := kern.right.width
	return max(m, kern.latency) * ((n + wide - 1) / wide * wide)
}

// generic is the kernel in Go.
var generic = &kernel{
	name:     "generic",
	tiles:    []tile{1: plainTile(1), 2: plainTile(2), 3: plainTile(3), 4: plainTile(4)},
	left:     plainPacker(plainRows),
	right:    plainPacker(plainCols),
	dot:      plainDot,
	unpacked: 0, // plainSums counts on it
	latency:  1,
	turn:     turn[float32],
	atLeast:  plainAtLeast,
	add:      plainAdd,
	mul:      plainMul,
}

// More sums than these would not fit the registers of every processor.
const plainRows, plainCols = 4, 2

func plainTile(rows int) tile {
	return func(k int, a, b []float32, _ int, c []float32, ldc int, add bool) {
		sums := plainSums(a[:plainRows*k], b[:plainCols*k])
		for i := range rows {
			to := c[i*ldc:][:plainCols]
			for j, v := range sums[i] {
				if add {
					v += to[j]
				}
				to[j] = v
			}
		}
	}
}

func plainSums(a, b []float32) [plainRows][plainCols]float32 {
	var s00, s01, s10, s11, s20, s21, s30, s31 float32
	for len(a) >= plainRows && len(b) >= plainCols {
		a0, a1, a2, a3 := a[0], a[1], a[2], a[3]
		b0, b1 := b[0], b[1]
		s00 += a0 * b0
		s01 += a0 * b1
		s10 += a1 * b0
		s11 += a1 * b1
		s20 += a2 * b0
		s21 += a2 * b1
		s30 += a3 * b0
		s31 += a3 * b1
		a, b = a[plainRows:], b[plainCols:]
	}
	return [plainRows][plainCols]float32{{s00, s01}, {s10, s11}, {s20, s21}, {s30, s31}}
}

// plainDot has several sums, so that one need not wait for the other.
func plainDot(x, y []float32) float32 {
	y = y[:len(x)]
	var s0, s1, s2, s3 float32
	i := 0
	for ; i+4 <= len(x); i += 4 {
		s0 += x[i] * y[i]
		s1 += x[i+1] * y[i+1]
		s2 += x[i+2] * y[i+2]
		s3 += x[i+3] * y[i+3]
	}
	for ; i < len(x); i++ {
		s0 += x[i] * y[i]
	}
	return (s0 + s1) + (s2 + s3)
}

func plainPacker(width int) packer {
	return packer{
		width: width,
		copy: func(k int, src []float32, ld int, dst []float32, scale float32) {
			for i := range k {
				to := dst[i*width:][:width]
				for j, v := range src[i*ld:][:width] {
					to[j] = scale * v
				}
			}
		},
		interleave: func(k int, src []float32, ld int, dst []float32, scale float32) {
			for j := range width {
				for i, v := range src[j*ld:][:k] {
					dst[i*width+j] = scale * v
				}
			}
		},
	}
}
