package allreduce_test

import (
	"fmt"
	"math/rand/v2"

	"github.com/ringrun/ringrun/allreduce"
	"github.com/ringrun/ringrun/ring"
)

// reduced returns what an all-reduce must make of the vectors of all ranks,
// bit for bit: chunk c is combined in the order c+1, c+2, …, c.
func reduced[T allreduce.Number](x [][]T, op allreduce.Op) []T {
	n := len(x)
	out := make([]T, len(x[0]))
	for c := range n {
		lo, hi := ring.Chunk(len(out), n, c)
		for i := lo; i < hi; i++ {
			acc := x[(c+1)%n][i]
			for k := 2; k <= n; k++ {
				acc = combine(op, acc, x[(c+k)%n][i])
			}
			out[i] = acc
			if op == allreduce.Mean {
				out[i] = divided(acc, n)
			}
		}
	}
	return out
}

func combine[T allreduce.Number](op allreduce.Op, a, b T) T {
	switch op {
	case allreduce.Sum, allreduce.Mean:
		return a + b
	case allreduce.Min:
		return min(a, b)
	case allreduce.Max:
		return max(a, b)
	case allreduce.Product:
		return a * b
	}
	panic(fmt.Sprint("no oracle for ", op))
}

func divided[T allreduce.Number](x T, n int) T {
	switch any(x).(type) {
	case int32, int64:
		return x / T(n)
	}
	return x * (1 / T(n))
}

// A job is one collective on all ranks, of any type of elements.
type job struct {
	name    string
	vectors []allreduce.Vector // by rank
	want    allreduce.Vector
	op      allreduce.Op
}

var ops = []allreduce.Op{allreduce.Sum, allreduce.Mean, allreduce.Min, allreduce.Max, allreduce.Product}

// jobs has one maker for each type of elements.
var jobs = []func(r *rand.Rand, op allreduce.Op, n, length int) job{
	newJob(func(r *rand.Rand) float32 { return float32(r.NormFloat64()) }),
	newJob(func(r *rand.Rand) float64 { return r.NormFloat64() }),
	newJob(func(r *rand.Rand) int32 { return int32(r.Uint32()) }),
	newJob(func(r *rand.Rand) int64 { return int64(r.Uint64()) }),
}

func newJob[T allreduce.Number](draw func(*rand.Rand) T) func(r *rand.Rand, op allreduce.Op, n, length int) job {
	return func(r *rand.Rand, op allreduce.Op, n, length int) job {
		x := make([][]T, n)
		j := job{op: op}
		for rank := range x {
			x[rank] = make([]T, length)
			for i := range x[rank] {
				x[rank][i] = draw(r)
			}
			j.vectors = append(j.vectors, allreduce.Of(x[rank]))
		}
		j.want = allreduce.Of(reduced(x, op))
		j.name = fmt.Sprintf("%v of %d %v over %d", op, length, j.want.Type(), n)
		return j
	}
}

// check reports the first difference from what is wanted.
func (j job) check(rank int) error {
	if string(j.vectors[rank].Bytes()) == string(j.want.Bytes()) {
		return nil
	}
	size := j.want.Type().Size()
	for i := 0; i < len(j.want.Bytes()); i += size {
		got, want := j.vectors[rank].Bytes()[i:i+size], j.want.Bytes()[i:i+size]
		if string(got) != string(want) {
			return fmt.Errorf("rank %d, %s: element %d has the bytes %x, want %x", rank, j.name, i/size, got, want)
		}
	}
	panic("unreachable")
}
