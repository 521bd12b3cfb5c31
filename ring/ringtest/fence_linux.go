package ringtest

import (
	"syscall"
	"testing"
	"unsafe"
)

// A Fence is memory with none before and behind it that may be touched.
type Fence []byte

// fencePage is a multiple of the pages of every system.
const fencePage = 64 << 10

// NewFence returns a fence of so many pages of 64 KiB.
func NewFence(t testing.TB, pages int) Fence {
	t.Helper()
	all, err := syscall.Mmap(-1, 0, (pages+2)*fencePage, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Munmap(all); err != nil {
			t.Error(err)
		}
	})
	end := len(all) - fencePage
	for _, out := range [][]byte{all[:fencePage], all[end:]} {
		if err := syscall.Mprotect(out, syscall.PROT_NONE); err != nil {
			t.Fatal(err)
		}
	}
	return all[fencePage:end:end]
}

// Within returns n elements at the beginning or the end of a fence, which must hold
// them.
func Within[T any](f Fence, n int, last bool) []T {
	var element T
	bytes := n * int(unsafe.Sizeof(element))
	at := 0
	if last {
		at = len(f) - bytes
	}
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(f[at:at+bytes]))), n)
}
