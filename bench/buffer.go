package bench

import (
	"fmt"
	"hash/crc32"
	"math"

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

func newBuffer(t allreduce.Type, n int) (buffer, error) {
	switch t {
	case allreduce.Float32:
		return newMemory[float32](t, n), nil
	case allreduce.Float64:
		return newMemory[float64](t, n), nil
	case allreduce.Int32:
		return newMemory[int32](t, n), nil
	case allreduce.Int64:
		return newMemory[int64](t, n), nil
	}
	return nil, fmt.Errorf("bench: no vectors of type %v", t)
}

type memory[T allreduce.Number] struct {
	t       allreduce.Type
	x, kept []T
}

// newMemory touches all of the memory: a first touch costs as much as an
// all-reduce, and must not be timed.
func newMemory[T allreduce.Number](t allreduce.Type, n int) *memory[T] {
	m := &memory[T]{t: t, x: make([]T, n)}
	m.clear(n)
	return m
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
