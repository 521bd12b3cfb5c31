package solver

import (
	"math"
	"unsafe"
)

// Where gradients are too large, as bits: 2^64, whose square is no float32, and
// 2^480, so that no sum of squares overflows.
const (
	tooLarge32 = 0x5f800000
	tooLarge64 = 0x5df0000000000000
)

func (a array) usable() bool { return kernels32.usable(a.f32) && kernels64.usable(a.f64) }

// usable reports whether every element is a number and not too large.
func usable[T float](x []T) bool {
	var bad uint64 // its highest bit
	for _, v := range x {
		bad |= tooLargeBits(v)
	}
	return bad>>63 == 0
}

// tooLargeBits returns a number of which the highest bit says it.
func tooLargeBits[T float](x T) uint64 {
	if unsafe.Sizeof(x) == 4 {
		return uint64(tooLarge32-1-math.Float32bits(float32(x))&math.MaxInt32) << 32
	}
	return tooLarge64 - 1 - math.Float64bits(float64(x))&math.MaxInt64
}

// squares returns the sum of the squares of all elements.
func (a array) squares() float64 { return kernels32.squares(a.f32) + kernels64.squares(a.f64) }

const (
	lanes = 8
	block = 4096 // a multiple of lanes
)

// squares adds in an order that depends on nothing but the length: blocks one
// after another; in a block element i goes to lane i mod 8, and the lanes are
// added as a tree.
func (k *kernels[T]) squares(x []T) float64 {
	var total float64
	for len(x) > 0 {
		n := min(len(x), block)
		whole := n &^ (lanes - 1)
		a := k.lanes(x[:whole])
		for i, v := range x[whole:n] {
			a[i] += square(v)
		}
		total += ((a[0] + a[4]) + (a[2] + a[6])) + ((a[1] + a[5]) + (a[3] + a[7]))
		x = x[n:]
	}
	return total
}

// laneSquares returns the sums of the lanes of a multiple of 8 elements.
func laneSquares[T float](x []T) [lanes]float64 {
	var a0, a1, a2, a3, a4, a5, a6, a7 float64
	for len(x) >= lanes {
		y := x[:lanes:lanes]
		a0 += square(y[0])
		a1 += square(y[1])
		a2 += square(y[2])
		a3 += square(y[3])
		a4 += square(y[4])
		a5 += square(y[5])
		a6 += square(y[6])
		a7 += square(y[7])
		x = x[lanes:]
	}
	return [lanes]float64{a0, a1, a2, a3, a4, a5, a6, a7}
}

func square[T float](x T) float64 {
	y := float64(x)
	return float64(y * y)
}

// power returns x to the n by multiplications alone, alike on all processors.
func power(x float64, n int) float64 {
	y := 1.0
	for ; n > 0; n >>= 1 {
		if n&1 == 1 {
			y *= x
		}
		x *= x
	}
	return y
}
