package openblas

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/gonum"
)

type float interface{ float32 | float64 }

// A call is the arguments of a product.
type call[T float] struct {
	tA, tB         blas.Transpose
	m, n, k        int
	alpha, beta    T
	a, b, c        []T
	lda, ldb, ldc  int
	product, gonum func(blas.Transpose, blas.Transpose, int, int, int, T, []T, int, []T, int, T, []T, int)
}

// draw makes matrices that begin anywhere, with gaps between their rows.
func draw[T float](r *rand.Rand) call[T] {
	t := []blas.Transpose{blas.NoTrans, blas.Trans, blas.ConjTrans}
	x := call[T]{
		tA: t[r.IntN(3)], tB: t[r.IntN(3)], m: 1 + r.IntN(50), n: 1 + r.IntN(50), k: 1 + r.IntN(50),
		alpha: []T{1, -0.5, 0}[r.IntN(3)], beta: []T{0, 1, 2}[r.IntN(3)],
	}
	x.a, x.lda = matrix[T](r, x.tA, x.m, x.k)
	x.b, x.ldb = matrix[T](r, x.tB, x.k, x.n)
	x.c, x.ldc = matrix[T](r, blas.NoTrans, x.m, x.n)
	return x
}

func matrix[T float](r *rand.Rand, t blas.Transpose, rows, cols int) ([]T, int) {
	if t != blas.NoTrans {
		rows, cols = cols, rows
	}
	ld := cols + r.IntN(2)*r.IntN(20)
	data := make([]T, r.IntN(5)+rows*ld)
	for i := range data {
		data[i] = T(r.NormFloat64())
	}
	return data[len(data)-rows*ld:], ld
}

// check compares with gonum, of which the sums are in another order.
func (x call[T]) check(t *testing.T, tolerance float64) {
	t.Helper()
	got, want := slices.Clone(x.c), slices.Clone(x.c)
	x.product(x.tA, x.tB, x.m, x.n, x.k, x.alpha, x.a, x.lda, x.b, x.ldb, x.beta, got, x.ldc)
	x.gonum(x.tA, x.tB, x.m, x.n, x.k, x.alpha, x.a, x.lda, x.b, x.ldb, x.beta, want, x.ldc)
	for i := range want {
		if d := math.Abs(float64(got[i] - want[i])); !(d <= tolerance*float64(x.k+3)) {
			t.Fatalf("product(%c, %c, %d, %d, %d, alpha %v, beta %v): element %d is %v, want %v", x.tA, x.tB, x.m, x.n, x.k, x.alpha, x.beta, i, got[i], want[i])
		}
	}
}

// Products of both types, transposed and with gaps, are gonum's; what lies
// between the rows of the result stays.
func TestProducts(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		x := draw[float32](r)
		x.product, x.gonum = Implementation{}.Sgemm, gonum.Implementation{}.Sgemm
		x.check(t, 1e-6)
		y := draw[float64](r)
		y.product, y.gonum = Implementation{}.Dgemm, gonum.Implementation{}.Dgemm
		y.check(t, 1e-15)
	}
}

// What gonum refuses is refused in the same words, before C could see it; and
// nothing else.
func TestRefusals(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	refused := 0
	for range 2000 {
		x := draw[float64](r)
		switch r.IntN(6) {
		case 0:
			x.m = r.IntN(2) - 1
		case 1:
			x.k = r.IntN(2) - 1
		case 2:
			x.lda -= r.IntN(30)
		case 3:
			x.ldc -= r.IntN(30)
		case 4:
			x.b = x.b[:len(x.b)-r.IntN(len(x.b))]
		case 5:
			x.tB = 'x'
		}
		got, want := x.refusal(Implementation{}.Dgemm), x.refusal(gonum.Implementation{}.Dgemm)
		if got != want {
			t.Fatalf("Dgemm(%c, %c, %d, %d, %d) with %d, %d, %d elements: %q, want %q", x.tA, x.tB, x.m, x.n, x.k, len(x.a), len(x.b), len(x.c), got, want)
		}
		if want != "" {
			refused++
		}
	}
	if refused < 200 {
		t.Errorf("only %d calls were refused", refused)
	}
}

func (x call[T]) refusal(f func(blas.Transpose, blas.Transpose, int, int, int, T, []T, int, []T, int, T, []T, int)) (why string) {
	defer func() {
		if r := recover(); r != nil {
			why = fmt.Sprint(r)
		}
	}()
	f(x.tA, x.tB, x.m, x.n, x.k, x.alpha, x.a, x.lda, x.b, x.ldb, x.beta, slices.Clone(x.c), x.ldc)
	return ""
}
