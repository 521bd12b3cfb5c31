package blas

import (
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"testing"

	"github.com/ringrun/ringrun/ring/ringtest"
)

// fenced returns no more memory than a matrix must have.
func fenced(f ringtest.Fence, rows, cols, ld int, last bool) []float32 {
	return ringtest.Within[float32](f, (rows-1)*ld+cols, last)
}

// TestSgemmStaysInside: nothing before or behind a matrix is touched.
func TestSgemmStaysInside(t *testing.T) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // so that the fault is in this goroutine
	a, b, c := ringtest.NewFence(t, 16), ringtest.NewFence(t, 16), ringtest.NewFence(t, 16)
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
			x.a, x.b = fenced(a, rowsA, colsA, x.lda, last), fenced(b, rowsB, colsB, x.ldb, last)
			x.c = fenced(c, x.m, x.n, x.ldc, last)
			for _, kern := range kernels() {
				kern.sgemm(x.tA, x.tB, x.m, x.n, x.k, x.alpha, x.a, x.lda, x.b, x.ldb, x.beta, x.c, x.ldc)
			}
		}
	}
}

// TestLoopsStayInside: nor what is beside the operands of the engine's loops.
func TestLoopsStayInside(t *testing.T) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	a, b, c := ringtest.NewFence(t, 16), ringtest.NewFence(t, 16), ringtest.NewFence(t, 16)
	for _, kern := range kernels() {
		for _, last := range []bool{false, true} {
			for n := 1; n < 150; n++ {
				x, y, z := ringtest.Within[float32](a, n, last), ringtest.Within[float32](b, n, last), ringtest.Within[float32](c, n, last)
				kern.dot(x, y)
				kern.add(z, x, y)
				kern.mul(z, x, y)
				kern.atLeast(z, x, 0.5)
			}
			for rows := 1; rows < 30; rows++ {
				for cols := 1; cols < 30; cols++ {
					ld := rows + rows%3
					kern.turn(ringtest.Within[float32](a, rows*cols, last), fenced(b, cols, rows, ld, last), rows, cols, ld)
				}
			}
		}
	}
}
