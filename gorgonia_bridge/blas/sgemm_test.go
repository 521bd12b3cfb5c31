package blas

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/gonum"
)

// A call is one set of arguments for Sgemm.
type call struct {
	tA, tB      blas.Transpose
	m, n, k     int
	alpha, beta float32
	a, b, c     []float32
	lda, ldb    int
	ldc         int
}

type sgemm func(tA, tB blas.Transpose, m, n, k int, alpha float32, a []float32, lda int, b []float32, ldb int, beta float32, c []float32, ldc int)

// on returns what f makes of a copy of C.
func (x call) on(f sgemm) []float32 {
	c := slices.Clone(x.c)
	f(x.tA, x.tB, x.m, x.n, x.k, x.alpha, x.a, x.lda, x.b, x.ldb, x.beta, c, x.ldc)
	return c
}

func (x call) String() string {
	return fmt.Sprintf("Sgemm(%c, %c, %d, %d, %d, alpha %v, lda %d, ldb %d, beta %v, ldc %d)",
		x.tA, x.tB, x.m, x.n, x.k, x.alpha, x.lda, x.ldb, x.beta, x.ldc)
}

var transposes = []blas.Transpose{blas.NoTrans, blas.Trans, blas.ConjTrans}

// A drawn call has matrices that begin anywhere, with gaps between their rows.
func draw(r *rand.Rand, m, n, k int) call {
	x := call{
		m: m, n: n, k: k,
		tA: transposes[r.IntN(3)], tB: transposes[r.IntN(3)],
		alpha: []float32{1, 1, 0.5, -2, 0}[r.IntN(5)],
		beta:  []float32{0, 0, 1, 0.5, -3}[r.IntN(5)],
	}
	rowsA, colsA := stored(x.tA, m, k)
	rowsB, colsB := stored(x.tB, k, n)
	x.a, x.lda = drawMatrix(r, rowsA, colsA)
	x.b, x.ldb = drawMatrix(r, rowsB, colsB)
	x.c, x.ldc = drawMatrix(r, m, n)
	return x
}

func drawMatrix(r *rand.Rand, rows, cols int) ([]float32, int) {
	ld := max(1, cols)
	if r.IntN(2) == 0 {
		ld += r.IntN(20)
	}
	data := make([]float32, r.IntN(5)+rows*ld)
	for i := range data {
		data[i] = float32(r.NormFloat64())
	}
	return data[len(data)-rows*ld:], ld
}

// exact computes in float64, and how far float32 may be off: half a unit in the
// last place for each of the k+3 roundings, of the sum of the magnitudes.
func (x call) exact() (want, bound []float64) {
	want, bound = make([]float64, len(x.c)), make([]float64, len(x.c))
	for i, v := range x.c {
		want[i] = float64(v)
	}
	a, b := operand(x.a, x.lda, x.tA), operand(x.b, x.ldb, x.tB)
	for i := range x.m {
		for j := range x.n {
			at := i*x.ldc + j
			var sum, size float64
			if x.beta != 0 {
				sum = float64(x.beta) * float64(x.c[at])
			}
			size = math.Abs(sum)
			for l := range x.k {
				if x.alpha == 0 {
					break
				}
				v := float64(x.alpha) * float64(a.data[i*a.row+l*a.col]) * float64(b.data[l*b.row+j*b.col])
				sum, size = sum+v, size+math.Abs(v)
			}
			want[at], bound[at] = sum, size*float64(x.k+3)*0x1p-24
		}
	}
	return want, bound
}

// compare fails if C is not as exact as it should be, or if what lies between
// its rows has changed.
func (x call) compare(t *testing.T, name string, got []float32) {
	t.Helper()
	want, bound := x.exact()
	for i := range want {
		w, g := want[i], float64(got[i])
		if same := w == g || w != w && g != g; !same && !(math.Abs(w-g) <= bound[i]) {
			t.Fatalf("%s, %v: element %d of row %d is %v, want %v within %v", name, x, i%x.ldc, i/x.ldc, g, w, bound[i])
		}
	}
}

// shapes are those at which something ends or begins: tiles, blocks, threads.
func shapes(r *rand.Rand) [][3]int {
	list := [][3]int{
		{0, 5, 5}, {5, 0, 5}, {5, 5, 0}, {0, 0, 0}, {1, 1, 1}, {1, 1, 4000}, {1, 300, 70}, {300, 1, 70}, {1, 7, 3},
		{14, 32, 256}, {15, 33, 257}, {28, 64, 8}, {29, 65, 7}, {6, 16, 255}, {168, 40, 20}, {169, 40, 20}, {40, 1025, 9},
		{128, 10, 512}, {512, 10, 128}, {128, 512, 10}, {128, 512, 130}, {100, 100, 600}, {250, 300, 40}, {10, 1000, 300},
	}
	most := 400
	if testing.Short() {
		most = 50
	}
	for range most {
		list = append(list, [3]int{1 + r.IntN(70), 1 + r.IntN(90), 1 + r.IntN(60)})
		list = append(list, [3]int{1 + r.IntN(16), 1 + r.IntN(40), 1 + r.IntN(12)})
	}
	return list
}

// TestSgemm compares all kernels with float64, which gonum must satisfy as well.
func TestSgemm(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, s := range shapes(r) {
		x := draw(r, s[0], s[1], s[2])
		x.compare(t, "gonum", x.on(gonum.Implementation{}.Sgemm))
		x.compare(t, "Implementation", x.on(Implementation{}.Sgemm))
		for _, kern := range kernels() {
			x.compare(t, kern.name, x.on(kern.sgemm))
		}
	}
}

// TestSameBits: neither the number of threads nor the processor's vectors change
// the result.
func TestSameBits(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	for _, s := range [][3]int{{128, 784, 520}, {300, 200, 100}, {15, 2000, 100}, {2000, 10, 128}, {1, 4000, 300}, {4000, 1, 300}, {211, 301, 401}} {
		x := draw(r, s[0], s[1], s[2])
		x.alpha = 0.3
		want := make(map[bool][]float32) // assembly, or not
		for _, kern := range kernels() {
			for _, threads := range []int{1, 2, 3, 4, 7} {
				runtime.GOMAXPROCS(threads)
				got := x.on(kern.sgemm)
				assembly := kern != generic
				if want[assembly] == nil {
					want[assembly] = got
				}
				if i := firstDifference(got, want[assembly]); i >= 0 {
					t.Fatalf("%v, %s with %d threads: element %d is %v, but was %v", x, kern.name, threads, i, got[i], want[assembly][i])
				}
			}
		}
	}
}

// TestSameBitsOfNarrow: nor for a result of one row or column, which may be made
// of dot products.
func TestSameBitsOfNarrow(t *testing.T) {
	r := rand.New(rand.NewPCG(18, 19))
	for long := range 80 {
		for _, k := range []int{5, 15, 31, 40, 70, 300} {
			for _, s := range [][2]int{{1 + long, 1}, {1, 1 + long}} {
				x := draw(r, s[0], s[1], k)
				x.alpha = 0.3
				var want []float32
				for _, kern := range kernels() {
					if kern == generic {
						continue
					}
					got := x.on(kern.sgemm)
					if want == nil {
						want = got
					}
					if i := firstDifference(got, want); i >= 0 {
						t.Fatalf("%v, %s: element %d is %v, but was %v", x, kern.name, i, got[i], want[i])
					}
				}
			}
		}
	}
}

// TestOrient: nor does it matter which way round the product is computed.
func TestOrient(t *testing.T) {
	r := rand.New(rand.NewPCG(14, 15))
	for range 50 {
		x := draw(r, 100+r.IntN(300), 2+r.IntN(12), 20+r.IntN(300))
		x.alpha = 0.3
		for _, kern := range kernels() {
			kept := *kern
			kept.latency = 1 << 20 // so that few rows are no advantage
			want, got := x.on(kept.sgemm), x.on(kern.sgemm)
			if i := firstDifference(got, want); i >= 0 {
				t.Fatalf("%v, %s: element %d is %v if turned, but %v if not", x, kern.name, i, got[i], want[i])
			}
		}
	}
}

// TestLongRow: one row by columns in one piece, longer than the workspace.
func TestLongRow(t *testing.T) {
	r := rand.New(rand.NewPCG(16, 17))
	for range 10 {
		x := draw(r, 1, 3, 2*down*depth+r.IntN(40))
		if x.tB == blas.NoTrans {
			continue
		}
		for _, kern := range kernels() {
			x.compare(t, kern.name, x.on(kern.sgemm))
		}
	}
}

func firstDifference(x, y []float32) int {
	for i := range x {
		if math.Float32bits(x[i]) != math.Float32bits(y[i]) {
			return i
		}
	}
	return -1
}

// TestNotFinite plants a NaN or an infinity, even opposite a zero, and looks for
// it where IEEE arithmetic would take it.
func TestNotFinite(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	odd := []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))}
	for range 200 {
		x := draw(r, 1+r.IntN(40), 1+r.IntN(50), 1+r.IntN(30))
		if x.alpha == 0 {
			x.alpha = 1
		}
		clear(x.a[:r.IntN(len(x.a))])
		x.b[r.IntN(len(x.b))] = odd[r.IntN(3)]
		x.a[r.IntN(len(x.a))] = odd[r.IntN(3)]
		x.c[r.IntN(len(x.c))] = odd[r.IntN(3)]
		for _, kern := range kernels() {
			x.compare(t, kern.name, x.on(kern.sgemm))
		}
	}
}

// TestOverwrite: if beta is 0, a NaN in C does not survive; and if alpha is 0,
// one in A or B is not seen.
func TestOverwrite(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for _, s := range [][3]int{{20, 40, 30}, {1, 50, 40}, {50, 1, 40}, {200, 3, 40}, {5, 6, 0}} {
		for _, alpha := range []float32{0, 1} {
			x := draw(r, s[0], s[1], s[2])
			x.alpha, x.beta = alpha, 0
			for i := range x.c {
				x.c[i] = float32(math.NaN())
			}
			if alpha == 0 {
				x.a[0], x.b[0] = float32(math.NaN()), float32(math.NaN())
			}
			for _, kern := range kernels() {
				got := x.on(kern.sgemm)
				for i := range x.m {
					if j := slices.IndexFunc(got[i*x.ldc:][:x.n], func(v float32) bool { return v != v }); j >= 0 {
						t.Fatalf("%s, %v: a NaN in row %d, column %d", kern.name, x, i, j)
					}
				}
			}
		}
	}
}

// TestPanics: what gonum refuses, we refuse in the same words, and nothing else.
func TestPanics(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	refused := 0
	for range 5000 {
		x := draw(r, r.IntN(4), r.IntN(4), r.IntN(4))
		x.alpha = 1
		for range 1 + r.IntN(2) {
			x.spoil(r)
		}
		want, got := x.refusal(gonum.Implementation{}.Sgemm), x.refusal(Implementation{}.Sgemm)
		if want != got {
			t.Fatalf("%v with %d, %d, %d elements: %v, want %v", x, len(x.a), len(x.b), len(x.c), got, want)
		}
		if want != nil {
			refused++
		}
	}
	if refused < 1000 {
		t.Errorf("only %d calls were refused", refused)
	}
}

// TestPanicsOfDistances: nor do rows that are so far apart that the product of
// their number and distance is no int pass for a few.
func TestPanicsOfDistances(t *testing.T) {
	for i := range 3 {
		x := call{tA: blas.NoTrans, tB: blas.NoTrans, m: 84, n: 32, k: 8, alpha: 1, lda: 8, ldb: 32, ldc: 32}
		x.a, x.b, x.c = make([]float32, 84*8), make([]float32, 8*32), make([]float32, 84*32)
		*[]*int{&x.lda, &x.ldb, &x.ldc}[i] = math.MaxInt/2 + 1
		if got, want := x.refusal(Implementation{}.Sgemm), []string{shortA, shortB, shortC}[i]; got != want {
			t.Errorf("%v: %v, want %v", x, got, want)
		}
	}
}

func (x *call) spoil(r *rand.Rand) {
	switch r.IntN(9) {
	case 0:
		x.tA = 'x'
	case 1:
		x.tB = 'x'
	case 2:
		x.m = -1
	case 3:
		x.n = -1
	case 4:
		x.k = -1
	case 5:
		x.lda -= r.IntN(3)
	case 6:
		x.ldb -= r.IntN(3)
	case 7:
		x.ldc -= r.IntN(3)
	case 8:
		m := []*[]float32{&x.a, &x.b, &x.c}[r.IntN(3)]
		*m = (*m)[:max(0, len(*m)-1-r.IntN(3))]
	}
}

func (x call) refusal(f sgemm) (why any) {
	defer func() { why = recover() }()
	x.on(f)
	return nil
}

// TestConcurrent: many products at once share helpers and memory, and disturb
// each other in nothing.
func TestConcurrent(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	var all sync.WaitGroup
	for i := range uint64(8) {
		all.Go(func() {
			r := rand.New(rand.NewPCG(i, 11))
			x := draw(r, 120+r.IntN(20), 150+r.IntN(20), 90)
			want := x.on(best.sgemm)
			for range 20 {
				if j := firstDifference(x.on(best.sgemm), want); j >= 0 {
					t.Errorf("%v: element %d differs from the first result", x, j)
				}
			}
		})
	}
	all.Wait()
	if n := helping.Load(); n != 0 {
		t.Errorf("%d helpers are still engaged", n)
	}
}

// TestGarbage: a product leaves none, alone or on several threads.
func TestGarbage(t *testing.T) {
	if raceEnabled {
		t.Skip("under the race detector, pools drop what they are given")
	}
	for _, threads := range []int{1, 2} {
		// Not by testing.AllocsPerRun, which allows one thread. A collection may
		// empty the pools now and then.
		before := runtime.GOMAXPROCS(threads)
		x := draw(rand.New(rand.NewPCG(12, 13)), 128, 512, 128)
		x.alpha = 1
		run := func() {
			Implementation{}.Sgemm(x.tA, x.tB, x.m, x.n, x.k, x.alpha, x.a, x.lda, x.b, x.ldb, x.beta, x.c, x.ldc)
		}
		for range 20 {
			run()
		}
		const runs = 500
		var from, to runtime.MemStats
		runtime.ReadMemStats(&from)
		for range runs {
			run()
		}
		runtime.ReadMemStats(&to)
		if n := to.Mallocs - from.Mallocs; n > runs/10 {
			t.Errorf("%d threads: %d products allocated %d times", threads, runs, n)
		}
		runtime.GOMAXPROCS(before)
	}
}
