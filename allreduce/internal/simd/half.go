package simd

import (
	"math"
	"sync"
)

// Bits of float32.
const (
	signBit  = 1 << 31
	infinity = 0xff << 23
	quiet    = 1 << 22
	overflow = (127 + 16) << 23 // 2^16: from here on no half is finite
	smallest = (127 - 14) << 23 // 2^-14: from here on halves are normal
	rebias   = (127 - 15) << 23 // between the exponents of the two formats
	units    = (127 - 1) << 23  // 2^-1, whose last place is 2^-24, that of the subnormal halves
)

// halves treats normal numbers in line: that is twice as fast.
func halves(dst []uint16, src []float32) {
	dst = dst[:len(src)]
	for i, f := range src {
		u := math.Float32bits(f)
		if a := u &^ signBit; a-smallest < overflow-smallest {
			// Adding just under half of the last place, and one more if it is
			// odd, rounds to nearest even, and carries into the exponent.
			a += 0xfff + a>>13&1
			dst[i] = uint16(u>>16&0x8000) | uint16((a-rebias)>>13)
		} else {
			dst[i] = uint16(u>>16&0x8000) | oddHalf(a)
		}
	}
}

// oddHalf converts the magnitude of what is not a normal half.
func oddHalf(a uint32) uint16 {
	switch {
	case a < smallest: // the addition does the rounding
		f := math.Float32frombits(a) + math.Float32frombits(units)
		return uint16(math.Float32bits(f) - units)
	case a > infinity:
		return 0x7e00 | uint16(a>>13&0x3ff)
	}
	return 0x7c00
}

// floats looks halves up: there are not many, and computing takes three times
// as long.
func floats(dst []float32, src []uint16) {
	table := floatTable()
	dst = dst[:len(src)]
	for i, h := range src {
		dst[i] = table[h]
	}
}

var floatTable = sync.OnceValue(func() *[1 << 16]float32 {
	t := new([1 << 16]float32)
	for h := range t {
		t[h] = float(uint16(h))
	}
	return t
})

func float(h uint16) float32 {
	sign := uint32(h&0x8000) << 16
	u := uint32(h&0x7fff) << 13
	switch {
	case u < 1<<23: // subnormal: count in units of 2^-24
		return math.Float32frombits(sign | math.Float32bits(float32(u>>13)*(1.0/(1<<24))))
	case u < 0x1f<<23:
		return math.Float32frombits(sign | u + rebias)
	case u == 0x1f<<23:
		return math.Float32frombits(sign | infinity)
	}
	return math.Float32frombits(sign | infinity | quiet | u&(1<<23-1))
}
