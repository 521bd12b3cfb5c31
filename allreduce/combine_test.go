package allreduce

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// Combine against the loop that it stands for, over more than one part.
func TestCombine(t *testing.T) {
	for _, n := range []int{0, 1, 17, combineBytes/4 + 5} {
		for _, by := range []float64{1, 0.3} {
			for srcs := 1; srcs <= 3; srcs++ {
				combineOnce[float32](t, n, srcs, by)
				combineOnce[float64](t, n, srcs, by)
			}
		}
	}
}

func combineOnce[T float32 | float64](t *testing.T, n, srcs int, by float64) {
	t.Helper()
	rng := rand.New(rand.NewPCG(uint64(n), uint64(srcs)))
	xs, vs := make([][]T, srcs), make([]Vector, srcs)
	want := make([]T, n)
	for i := range xs {
		xs[i] = make([]T, n)
		for j := range xs[i] {
			xs[i][j] = T(rng.NormFloat64())
			want[j] = xs[i][j] + want[j]
		}
		vs[i] = Of(xs[i])
	}
	for j := range want {
		want[j] *= T(by)
	}
	other := make([]T, n)
	Combine([]Vector{Of(other), vs[0]}, vs, by)
	if !slices.Equal(other, want) || !slices.Equal(xs[0], want) {
		t.Errorf("%d sums of %d vectors times %v are wrong", n, srcs, by)
	}
}
