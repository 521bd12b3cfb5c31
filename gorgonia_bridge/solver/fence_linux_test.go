package solver

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
func within(page []byte, n int, last bool) []float32 {
	at := 0
	if last {
		at = len(page) - 4*n
	}
	return unsafe.Slice((*float32)(unsafe.Pointer(&page[at])), n)
}

// No kernel touches what is before or behind its slices.
func TestKernelsStayInside(t *testing.T) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	var pages [5][]byte
	for i := range pages {
		pages[i] = newFence(t)
	}
	c := coef[float32]{scale: 1, clip: 1, rate: 0.1, keep: 1, eps: 1}
	for n := 1; n < 100; n++ {
		for _, last := range []bool{false, true} {
			var x [5][]float32
			for i := range x {
				x[i] = within(pages[i], n, last)
			}
			k := &kernels32
			k.sgd(x[0], x[1], c)
			k.momentum(x[0], x[1], x[2], c)
			k.nesterov(x[0], x[1], x[2], c)
			k.rmsprop(x[0], x[1], x[3], c)
			k.adam(x[0], x[1], x[2], x[3], c)
			k.lamb(x[4], x[0], x[1], x[2], x[3], c)
			k.usable(x[0])
			k.squares(x[0])
		}
	}
}
