package allreduce_test

import (
	"fmt"
	"math/rand/v2"

	"github.com/ringrun/ringrun/allreduce"
	"github.com/ringrun/ringrun/ring"
)

// reduced returns what an all-reduce must make of the vectors of all ranks,
// bit for bit: chunk c is combined in the order c+1, c+2, …, c.
func reduced[T allreduce.Element](x [][]T, op allreduce.Op) []T {
	n := len(x)
	out := make([]T, len(x[0]))
	for c := range n {
		lo, hi := ring.Chunk(len(out), n, c)
		for i := lo; i < hi; i++ {
			out[i] = chain(x, op, c, i)
		}
	}
	return out
}

// chain returns the result for element i when its chain ends at a rank.
func chain[T allreduce.Element](x [][]T, op allreduce.Op, rank, i int) T {
	n := len(x)
	at := func(k int) T {
		v := x[(rank+k)%n][i]
		if _, half := any(v).(allreduce.F16); half && op == allreduce.Mean {
			v = divided(v, n) // before it can overflow
		}
		return v
	}
	acc := at(1)
	for k := 2; k <= n; k++ {
		acc = combine(op, acc, at(k))
	}
	if _, half := any(acc).(allreduce.F16); op == allreduce.Mean && !half {
		acc = divided(acc, n)
	}
	return acc
}

func combine[T allreduce.Element](op allreduce.Op, a, b T) T {
	var r any
	switch a := any(a).(type) {
	case float32:
		r = arithmetic(op, a, any(b).(float32))
	case float64:
		r = arithmetic(op, a, any(b).(float64))
	case int32:
		r = integer(op, a, any(b).(int32))
	case int64:
		r = integer(op, a, any(b).(int64))
	case int16:
		r = integer(op, a, any(b).(int16))
	case int8:
		r = integer(op, a, any(b).(int8))
	case uint8:
		r = integer(op, a, any(b).(uint8))
	case uint16:
		r = integer(op, a, any(b).(uint16))
	case uint32:
		r = integer(op, a, any(b).(uint32))
	case uint64:
		r = integer(op, a, any(b).(uint64))
	case allreduce.F16:
		r = allreduce.NewF16(arithmetic(op, a.Float32(), any(b).(allreduce.F16).Float32()))
	case allreduce.BF16:
		r = allreduce.NewBF16(arithmetic(op, a.Float32(), any(b).(allreduce.BF16).Float32()))
	}
	return r.(T)
}

func integer[T int8 | uint8 | int16 | int32 | int64 | uint16 | uint32 | uint64](op allreduce.Op, a, b T) T {
	switch op {
	case allreduce.And:
		return a & b
	case allreduce.Or:
		return a | b
	}
	return arithmetic(op, a, b)
}

func arithmetic[T allreduce.Number](op allreduce.Op, a, b T) T {
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

func divided[T allreduce.Element](x T, n int) T {
	var r any
	switch x := any(x).(type) {
	case float32:
		r = x * (1 / float32(n))
	case float64:
		r = x * (1 / float64(n))
	case int32:
		r = x / int32(n)
	case int64:
		r = x / int64(n)
	case int16:
		r = int16(int(x) / n)
	case int8:
		r = int8(int(x) / n)
	case uint8:
		r = uint8(int(x) / n)
	case uint16:
		r = uint16(int(x) / n)
	case uint32:
		r = x / uint32(n)
	case uint64:
		r = x / uint64(n)
	case allreduce.F16:
		r = allreduce.NewF16(x.Float32() * (1 / float32(n)))
	case allreduce.BF16:
		r = allreduce.NewBF16(x.Float32() * (1 / float32(n)))
	}
	return r.(T)
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
	newJob(func(r *rand.Rand) int16 { return int16(r.Uint32()) }),
	newJob(func(r *rand.Rand) int8 { return int8(r.Uint32()) }),
	newJob(func(r *rand.Rand) uint8 { return uint8(r.Uint32()) }),
	newJob(func(r *rand.Rand) uint16 { return uint16(r.Uint32()) }),
	newJob(func(r *rand.Rand) uint32 { return r.Uint32() }),
	newJob(func(r *rand.Rand) uint64 { return r.Uint64() }),
	newJob(func(r *rand.Rand) allreduce.F16 { return allreduce.NewF16(float32(r.NormFloat64())) }),
	newJob(func(r *rand.Rand) allreduce.BF16 { return allreduce.NewBF16(float32(r.NormFloat64())) }),
}

func newJob[T allreduce.Element](draw func(*rand.Rand) T) func(r *rand.Rand, op allreduce.Op, n, length int) job {
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

// integral reports whether bit operations suit the job's elements.
func integral(t allreduce.Type) bool {
	switch t {
	case allreduce.Float32, allreduce.Float64, allreduce.Float16, allreduce.BFloat16:
		return false
	}
	return true
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
