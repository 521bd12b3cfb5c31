package simd

import (
	"runtime/debug"
	"syscall"
	"testing"
	"unsafe"
)

// fencePage is a multiple of the pages of every system.
const fencePage = 64 << 10

// newFence returns a page with none before and behind it that may be touched.
func newFence(t *testing.T) []byte {
	t.Helper()
	all, err := syscall.Mmap(-1, 0, 3*fencePage, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Munmap(all); err != nil {
			t.Error(err)
		}
	})
	for _, out := range [][]byte{all[:fencePage], all[2*fencePage:]} {
		if err := syscall.Mprotect(out, syscall.PROT_NONE); err != nil {
			t.Fatal(err)
		}
	}
	return all[fencePage:][:fencePage]
}

// within returns n elements at the beginning or the end of a page.
func within[T any](page []byte, n int, last bool) []T {
	var element T
	at := 0
	if last {
		at = len(page) - n*int(unsafe.Sizeof(element))
	}
	return unsafe.Slice((*T)(unsafe.Pointer(&page[at])), n)
}

// TestKernelsStayInside: no form of a kernel touches what is before or behind its
// slices.
func TestKernelsStayInside(t *testing.T) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	var pages [3][]byte
	for i := range pages {
		pages[i] = newFence(t)
	}
	for _, s := range Sets() {
		for _, n := range lengths() {
			for _, last := range []bool{false, true} {
				if n == 0 || 8*n > fencePage {
					continue
				}
				arithmeticInside(s.Float32, pages, n, last)
				arithmeticInside(s.Float64, pages, n, last)
				arithmeticInside(s.Int32, pages, n, last)
				arithmeticInside(s.Int64, pages, n, last)
				formatsInside(s, pages, n, last)
				s.Stream(within[byte](pages[0], n, last), within[byte](pages[1], n, last))
				Overwrite(within[byte](pages[0], n, last), within[byte](pages[1], n, last))
				Claim(within[byte](pages[0], n, last))
			}
		}
	}
}

func arithmeticInside[T Number](k Kernels[T], pages [3][]byte, n int, last bool) {
	x, y, z := within[T](pages[0], n, last), within[T](pages[1], n, last), within[T](pages[2], n, last)
	k.Add(x, y)
	k.Min(x, y)
	k.Max(x, y)
	k.Mul(x, y)
	k.Scale(x, 2)
	k.AddScale(x, y, 2)
	k.Sum([][]T{x}, [][]T{x, y, z})
	k.SumScale([][]T{x, z}, [][]T{x, y, z}, 3)
}

func formatsInside(s Set, pages [3][]byte, n int, last bool) {
	x, h := within[float32](pages[0], n, last), within[uint16](pages[1], n, last)
	s.HalfFromFloat32(h, x)
	s.Float32FromHalf(x, h)
	s.BFloat16FromFloat32(h, x)
	s.Float32FromBFloat16(x, h)
	s.MaxAbs(x)
	q, scales := within[int8](pages[1], n, last), within[float32](pages[2], Blocks(n), last)
	s.Quantise(q, scales, x)
	s.Dequantise(x, q, scales)
	s.DequantiseAdd(x, q, scales)
}
