package simd

import "math"

// BlockLen is how many elements share a scale.
const BlockLen = 256

// Blocks returns how many blocks n elements make.
func Blocks(n int) int { return (n + BlockLen - 1) / BlockLen }

// A quantiser is made of two loops; the few numbers between them, one for each
// block, are computed in Go.
type quantiser struct {
	maxima func(dst, x []float32)          // dst = MaxAbs of every block of x
	round  func(q []int8, x, by []float32) // q = x * by, with a factor for every block
}

// quantum is how many blocks are in work at a time: few enough to be in the
// first cache still when they are read again.
const quantum = 16

func (k quantiser) quantise(q []int8, scales, x []float32) {
	var factors [quantum]float32
	q, scales = q[:len(x)], scales[:Blocks(len(x))]
	for len(x) > 0 {
		n := min(quantum*BlockLen, len(x))
		s, by := scales[:Blocks(n)], factors[:Blocks(n)]
		k.maxima(s, x[:n])
		for i, m := range s {
			s[i], by[i] = units8(m)
		}
		k.round(q[:n], x[:n], by)
		for i, v := range s {
			if v != v {
				clear(q[i*BlockLen : min((i+1)*BlockLen, n)])
			}
		}
		q, scales, x = q[n:], scales[len(s):], x[n:]
	}
}

// leastMax is the least magnitude whose scale is normal.
const leastMax = 127 * 0x1p-126

// units8 returns the scale of a block, and its inverse.
func units8(maxAbs float32) (scale, by float32) {
	switch {
	case !(maxAbs <= math.MaxFloat32):
		return math.Float32frombits(infinity | quiet), 0
	case maxAbs < leastMax:
		return 0, 0
	}
	scale = maxAbs / 127
	if float32(scale*127) > math.MaxFloat32 { // rounded up, next to infinity
		scale = math.Float32frombits(math.Float32bits(scale) - 1)
	}
	return scale, 127 / maxAbs
}

// maxAbs compares integers: without their signs floats are ordered as their bits
// are, and NaN above all. Four at a time do not wait for each other.
func maxAbs(x []float32) float32 {
	var a, b, c, d uint32
	for ; len(x) >= 4; x = x[4:] {
		a = max(a, math.Float32bits(x[0])&^signBit)
		b = max(b, math.Float32bits(x[1])&^signBit)
		c = max(c, math.Float32bits(x[2])&^signBit)
		d = max(d, math.Float32bits(x[3])&^signBit)
	}
	for _, v := range x {
		a = max(a, math.Float32bits(v)&^signBit)
	}
	return math.Float32frombits(max(a, b, c, d))
}

func maxima(dst, x []float32) {
	for i := range dst {
		dst[i] = maxAbs(block(x, i))
	}
}

// round adds a number so large that its last place is 1, which rounds, and cuts
// the sum.
func round(q []int8, x, by []float32) {
	const large = 3 << 22
	for i, f := range by {
		x, q := block(x, i), block(q, i)
		q = q[:len(x)]
		for j, v := range x {
			q[j] = int8(math.Float32bits(float32(v*f) + large))
		}
	}
}

func dequantise(dst []float32, q []int8, scales []float32) {
	q = q[:len(dst)]
	for i, s := range scales[:Blocks(len(dst))] {
		dst, q := block(dst, i), block(q, i)
		q = q[:len(dst)]
		for j := range dst {
			dst[j] = float32(q[j]) * s
		}
	}
}

func dequantiseAdd(dst []float32, q []int8, scales []float32) {
	q = q[:len(dst)]
	for i, s := range scales[:Blocks(len(dst))] {
		dst, q := block(dst, i), block(q, i)
		q = q[:len(dst)]
		for j := range dst {
			dst[j] = float32(float32(q[j])*s) + dst[j]
		}
	}
}

// block returns block i of x.
func block[T any](x []T, i int) []T {
	return x[i*BlockLen : min((i+1)*BlockLen, len(x))]
}
