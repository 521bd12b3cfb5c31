package bench

import (
	"fmt"
	"hash/crc32"
	"math"
	"slices"

	"github.com/ringrun/ringrun/allreduce"
)

// A buffer is memory for vectors of one type.
type buffer interface {
	// vector returns the first n elements.
	vector(n int) allreduce.Vector
	// fill writes this peer's operands.
	fill(op allreduce.Op, rank, size, n int)
	// wrong counts the elements that are not the result.
	wrong(op allreduce.Op, size, n int, tolerance float64) int
	// differ counts the elements from lo to hi that are not what want says.
	differ(lo, hi int, tolerance float64, want func(i int) (want, scale float64)) int
	// clear writes zeros.
	clear(n int)
	// keep remembers the elements for restore.
	keep(n int)
	restore(n int)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// newBuffer takes n elements from alloc, which returns zeros.
func newBuffer(t allreduce.Type, n int, alloc func(bytes int) []byte) (buffer, error) {
	if !slices.Contains([]allreduce.Type{allreduce.Float32, allreduce.Float64, allreduce.Int32, allreduce.Int64}, t) {
		return nil, fmt.Errorf("bench: no vectors of type %v", t)
	}
	x := allreduce.Over(alloc(n*t.Size()), t)
	clear(x.Bytes()) // a first touch costs as much as an all-reduce, and must not be timed
	switch t {
	case allreduce.Float32:
		return newMemory[float32](x), nil
	case allreduce.Float64:
		return newMemory[float64](x), nil
	case allreduce.Int32:
		return newMemory[int32](x), nil
	default:
		return newMemory[int64](x), nil
	}
}

// heap returns zeros in ordinary memory, aligned for every type of elements.
func heap(bytes int) []byte { return allreduce.Of(make([]int64, (bytes+7)/8)).Bytes()[:bytes] }

type memory[T allreduce.Number] struct {
	t       allreduce.Type
	x, kept []T
}

func newMemory[T allreduce.Number](x allreduce.Vector) *memory[T] {
	return &memory[T]{t: x.Type(), x: allreduce.Elements[T](x)}
}

func (m *memory[T]) vector(n int) allreduce.Vector { return allreduce.Of(m.x[:n]) }

func (m *memory[T]) fill(op allreduce.Op, rank, size, n int) {
	for i := range m.x[:n] {
		m.x[i] = T(operand(m.t, op, rank, size, i))
	}
}

func (m *memory[T]) wrong(op allreduce.Op, size, n int, tolerance float64) int {
	return m.differ(0, n, tolerance, func(i int) (want, scale float64) { return expected(m.t, op, size, i) })
}

func (m *memory[T]) differ(lo, hi int, tolerance float64, element func(i int) (want, scale float64)) int {
	count := 0
	for i, got := range m.x[lo:hi] {
		want, scale := element(lo + i)
		if !(math.Abs(float64(got)-want) <= tolerance*scale) { // NaN is wrong
			count++
		}
	}
	return count
}

func (m *memory[T]) clear(n int)   { clear(m.x[:n]) }
func (m *memory[T]) keep(n int)    { m.kept = append(m.kept[:0], m.x[:n]...) }
func (m *memory[T]) restore(n int) { copy(m.x[:n], m.kept) }
