package blas

import (
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"syscall"
	"testing"
	"unsafe"
)

// A fence is memory with none before and behind it that may be touched.
type fence []byte

const (
	fencePage  = 64 << 10 // a multiple of the pages of every system
	fenceBytes = 1 << 20
)

func newFence(t *testing.T) fence {
	t.Helper()
	all, err := syscall.Mmap(-1, 0, fenceBytes+2*fencePage, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Munmap(all); err != nil {
			t.Error(err)
		}
	})
	for _, out := range [][]byte{all[:fencePage], all[fencePage+fenceBytes:]} {
		if err := syscall.Mprotect(out, syscall.PROT_NONE); err != nil {
			t.Fatal(err)
		}
	}
	return all[fencePage:][:fenceBytes]
}

// within returns n elements at the beginning or the end of the memory.
func (f fence) within(n int, last bool) []float32 {
	at := 0
	if last {
		at = len(f) - 4*n
	}
	return unsafe.Slice((*float32)(unsafe.Pointer(&f[at])), n)
}

// matrix returns no more memory than a matrix must have.
func (f fence) matrix(rows, cols, ld int, last bool) []float32 {
	return f.within((rows-1)*ld+cols, last)
}

// TestSgemmStaysInside: nothing before or behind a matrix is touched.
func TestSgemmStaysInside(t *testing.T) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // so that the fault is in this goroutine
	a, b, c := newFence(t), newFence(t), newFence(t)
	r := rand.New(rand.NewPCG(20, 21))
	for _, s := range shapes(r) {
		if s[0]*s[1]*s[2] == 0 || s[0]*s[1]*s[2] > 1<<20 {
			continue
		}
		x := draw(r, s[0], s[1], s[2])
		x.alpha = 0.5
		rowsA, colsA := stored(x.tA, x.m, x.k)
		rowsB, colsB := stored(x.tB, x.k, x.n)
		for _, last := range []bool{false, true} {
			x.a, x.b = a.matrix(rowsA, colsA, x.lda, last), b.matrix(rowsB, colsB, x.ldb, last)
			x.c = c.matrix(x.m, x.n, x.ldc, last)
			for _, kern := range kernels() {
				kern.sgemm(x.tA, x.tB, x.m, x.n, x.k, x.alpha, x.a, x.lda, x.b, x.ldb, x.beta, x.c, x.ldc)
			}
		}
	}
}

// TestLoopsStayInside: nor what is beside the operands of the engine's loops.
func TestLoopsStayInside(t *testing.T) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	a, b, c := newFence(t), newFence(t), newFence(t)
	for _, kern := range kernels() {
		for _, last := range []bool{false, true} {
			for n := 1; n < 150; n++ {
				x, y, z := a.within(n, last), b.within(n, last), c.within(n, last)
				kern.dot(x, y)
				kern.add(z, x, y)
				kern.mul(z, x, y)
				kern.atLeast(z, x, 0.5)
			}
			for rows := 1; rows < 30; rows++ {
				for cols := 1; cols < 30; cols++ {
					ld := rows + rows%3
					kern.turn(a.within(rows*cols, last), b.matrix(cols, rows, ld, last), rows, cols, ld)
				}
			}
		}
	}
}
