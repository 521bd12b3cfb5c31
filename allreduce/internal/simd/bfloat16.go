package simd

import "math"

// bfloat16s adds just under half of the last place, one more if that is odd, and
// cuts: this rounds to nearest even, and carries into the exponent.
func bfloat16s(dst []uint16, src []float32) {
	dst = dst[:len(src)]
	for i, f := range src {
		u := math.Float32bits(f)
		if u&^signBit > infinity { // NaN: rounding could make it an infinity
			dst[i] = uint16((u | quiet) >> 16)
		} else {
			dst[i] = uint16((u + 0x7fff + u>>16&1) >> 16)
		}
	}
}

func floatsOfBFloat16(dst []float32, src []uint16) {
	src = src[:len(dst)]
	for i := range dst {
		dst[i] = math.Float32frombits(uint32(src[i]) << 16)
	}
}
