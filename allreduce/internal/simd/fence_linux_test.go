package simd

import (
	"runtime/debug"
	"testing"

	"github.com/ringrun/ringrun/ring/ringtest"
)

// TestKernelsStayInside: no form of a kernel touches what is before or behind its
// slices.
func TestKernelsStayInside(t *testing.T) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	var pages [3]ringtest.Fence
	for i := range pages {
		pages[i] = ringtest.NewFence(t, 1)
	}
	for _, s := range Sets() {
		for _, n := range lengths() {
			for _, last := range []bool{false, true} {
				if n == 0 || 8*n > len(pages[0]) {
					continue
				}
				arithmeticInside(s.Float32, pages, n, last)
				arithmeticInside(s.Float64, pages, n, last)
				arithmeticInside(s.Int32, pages, n, last)
				arithmeticInside(s.Int64, pages, n, last)
				formatsInside(s, pages, n, last)
				s.Stream(ringtest.Within[byte](pages[0], n, last), ringtest.Within[byte](pages[1], n, last))
				Overwrite(ringtest.Within[byte](pages[0], n, last), ringtest.Within[byte](pages[1], n, last))
				Claim(ringtest.Within[byte](pages[0], n, last))
			}
		}
	}
}

func arithmeticInside[T Number](k Kernels[T], pages [3]ringtest.Fence, n int, last bool) {
	x, y, z := ringtest.Within[T](pages[0], n, last), ringtest.Within[T](pages[1], n, last), ringtest.Within[T](pages[2], n, last)
	k.Add(x, y)
	k.Min(x, y)
	k.Max(x, y)
	k.Mul(x, y)
	k.Scale(x, 2)
	k.AddScale(x, y, 2)
	k.Sum([][]T{x}, [][]T{x, y, z})
	k.SumScale([][]T{x, z}, [][]T{x, y, z}, 3)
}

func formatsInside(s Set, pages [3]ringtest.Fence, n int, last bool) {
	x, h := ringtest.Within[float32](pages[0], n, last), ringtest.Within[uint16](pages[1], n, last)
	s.HalfFromFloat32(h, x)
	s.Float32FromHalf(x, h)
	s.BFloat16FromFloat32(h, x)
	s.Float32FromBFloat16(x, h)
	s.MaxAbs(x)
	q, scales := ringtest.Within[int8](pages[1], n, last), ringtest.Within[float32](pages[2], Blocks(n), last)
	s.Quantise(q, scales, x)
	s.Dequantise(x, q, scales)
	s.DequantiseAdd(x, q, scales)
}
