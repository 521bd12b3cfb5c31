// Package blas makes Gorgonia's float32 networks several times as fast on amd64,
// without cgo. Two lines switch it on:
//
//	gorgonia.Use(blas.Implementation{})                                // matrix products
//	gorgonia.NewTapeMachine(g, gorgonia.WithEngine(blas.Engine{}), …)  // transposes, comparisons, sums
//
// Conv2d and MaxPool2D stand in for Gorgonia's in convolutional nets.
//
// The product is blocked as in Goto and van de Geijn, "Anatomy of
// High-Performance Matrix Multiplication" (2008): strips of both operands are
// packed, transposed and scaled on the way, and assembly multiplies a strip by a
// strip into a tile of C. The kernels, for AVX2 and for AVX-512, add up in the
// same order, as do any number of threads, so the result is the same bit for
// bit. Elsewhere, and with the build tag noasm, plain Go does the work; without
// fused multiplication its last bits differ.
package blas

import (
	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/gonum"
)

// Implementation is gonum's BLAS with a faster Sgemm.
type Implementation struct{ gonum.Implementation }

var _ blas.Float32 = Implementation{}

// Sgemm computes C = alpha·op(A)·op(B) + beta·C, where op transposes or not. It
// takes, and refuses, the same arguments as gonum's. If beta is 0, what C held
// does not matter, and if alpha is 0, A and B do not; otherwise NaN and infinity
// in A and B always reach C, whereas gonum leaves out products with 0.
func (Implementation) Sgemm(tA, tB blas.Transpose, m, n, k int, alpha float32, a []float32, lda int, b []float32, ldb int, beta float32, c []float32, ldc int) {
	best.sgemm(tA, tB, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc)
}

func (kern *kernel) sgemm(tA, tB blas.Transpose, m, n, k int, alpha float32, a []float32, lda int, b []float32, ldb int, beta float32, c []float32, ldc int) {
	check(tA, tB, m, n, k, a, lda, b, ldb, c, ldc)
	p := product{
		kern: kern, m: m, n: n, k: k,
		a: operand(a, lda, tA), b: operand(b, ldb, tB), c: operand(c, ldc, blas.NoTrans),
		scaleA: alpha, scaleB: 1, beta: beta,
	}
	switch {
	case m == 0 || n == 0:
	case k == 0 || alpha == 0:
		p.scaleC()
	default:
		p.orient()
		p.spread()
	}
}

// What gonum panics with.
const (
	mLT0         = "blas: m < 0"
	nLT0         = "blas: n < 0"
	kLT0         = "blas: k < 0"
	badTranspose = "blas: illegal transpose"
	badLdA       = "blas: bad leading dimension of A"
	badLdB       = "blas: bad leading dimension of B"
	badLdC       = "blas: bad leading dimension of C"
	shortA       = "blas: insufficient length of a"
	shortB       = "blas: insufficient length of b"
	shortC       = "blas: insufficient length of c"
)

// check panics as gonum does, and in the same order.
func check(tA, tB blas.Transpose, m, n, k int, a []float32, lda int, b []float32, ldb int, c []float32, ldc int) {
	rowsA, colsA := stored(tA, m, k)
	rowsB, colsB := stored(tB, k, n)
	switch {
	case m < 0:
		panic(mLT0)
	case n < 0:
		panic(nLT0)
	case k < 0:
		panic(kLT0)
	case lda < max(1, colsA):
		panic(badLdA)
	case ldb < max(1, colsB):
		panic(badLdB)
	case ldc < max(1, n):
		panic(badLdC)
	case m == 0 || n == 0:
	case short(a, rowsA, colsA, lda):
		panic(shortA)
	case short(b, rowsB, colsB, ldb):
		panic(shortB)
	case short(c, m, n, ldc):
		panic(shortC)
	}
}

// short reports whether x has less than the (rows-1)·ld+cols elements of a matrix.
// That may be more than an int can hold.
func short(x []float32, rows, cols, ld int) bool {
	return rows > 0 && (len(x) < cols || (len(x)-cols)/ld < rows-1)
}

// stored returns the shape in memory of a matrix that is rows×cols after op.
func stored(t blas.Transpose, rows, cols int) (int, int) {
	switch t {
	case blas.NoTrans:
		return rows, cols
	case blas.Trans, blas.ConjTrans:
		return cols, rows
	}
	panic(badTranspose)
}
