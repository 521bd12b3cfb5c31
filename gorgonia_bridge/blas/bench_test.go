package blas

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/gonum"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// BenchmarkSgemm: the products of the MLP 784-512-…-10 with a batch of 128, of
// its smallest shapes, of a convolution, and a large one. Compare with
//
//	go test -run - -bench Sgemm -cpu 1 -count 10 ./gorgonia_bridge/blas
func BenchmarkSgemm(b *testing.B) {
	const n, t = blas.NoTrans, blas.Trans
	implementations := []struct {
		name string
		f    sgemm
	}{{"gonum", gonum.Implementation{}.Sgemm}}
	for _, kern := range kernels() {
		implementations = append(implementations, struct {
			name string
			f    sgemm
		}{kern.name, kern.sgemm})
	}
	for _, s := range []struct {
		name    string
		tA, tB  blas.Transpose
		m, n, k int
	}{
		{"forward", n, n, 128, 512, 784},
		{"dW", t, n, 784, 512, 128},
		{"dX", n, t, 128, 512, 512},
		{"outForward", n, n, 128, 10, 512},
		{"outDW", t, n, 512, 10, 128},
		{"outDX", n, t, 128, 512, 10},
		{"conv", n, t, 32 * 784, 32, 9},
		{"rowNN", n, n, 1, 512, 784},
		{"rowNT", n, t, 1, 512, 784},
		{"columnNN", n, n, 784, 1, 512},
		{"outer", n, n, 128, 512, 1},
		{"tiny", n, n, 8, 8, 8},
		{"square", n, n, 1024, 1024, 1024},
	} {
		for _, f := range implementations {
			b.Run(fmt.Sprintf("shape=%s/%dx%dx%d/by=%s", s.name, s.m, s.n, s.k, f.name), func(b *testing.B) {
				rowsA, colsA := stored(s.tA, s.m, s.k)
				rowsB, colsB := stored(s.tB, s.k, s.n)
				x, y, c := ones(rowsA*colsA), ones(rowsB*colsB), ones(s.m*s.n)
				for b.Loop() {
					f.f(s.tA, s.tB, s.m, s.n, s.k, 1, x, colsA, y, colsB, 0, c, s.n)
				}
				flops := 2 * float64(s.m) * float64(s.n) * float64(s.k)
				b.ReportMetric(flops*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
			})
		}
	}
}

// signs are such that no processor foresees the next.
func signs(n int) []float32 {
	r := rand.New(rand.NewPCG(1, 2))
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(2*r.IntN(2) - 1)
	}
	return x
}

func ones(n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = 1
	}
	return x
}

// BenchmarkEngine: what conv nets spend on transposes and comparisons.
func BenchmarkEngine(b *testing.B) {
	for _, e := range []struct {
		name   string
		engine tensor.Engine
	}{{"standard", gorgonia.StandardEngine{}}, {"blas", Engine{}}} {
		x := tensor.New(tensor.WithShape(32, 28, 28, 32), tensor.WithEngine(e.engine),
			tensor.WithBacking(signs(32*28*28*32)))
		to := x.Clone().(*tensor.Dense)
		bytes := int64(4 * x.DataSize())
		b.Run("op=transpose0312/by="+e.name, func(b *testing.B) {
			b.SetBytes(bytes)
			for b.Loop() {
				if _, err := tensor.Transpose(x, 0, 3, 1, 2); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("op=gte/by="+e.name, func(b *testing.B) {
			b.SetBytes(bytes)
			for b.Loop() {
				if _, err := tensor.Gte(x, float32(0), tensor.AsSameType(), tensor.WithReuse(to)); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("op=add/by="+e.name, func(b *testing.B) {
			b.SetBytes(bytes)
			for b.Loop() {
				if _, err := tensor.Add(to, x, tensor.UseUnsafe()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
