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

// newBuffer takes n elements from alloc, which returns zeros. It touches all of
// them: a first touch costs as much as an all-reduce, and must not be timed.
func newBuffer(t allreduce.Type, n int, alloc func(bytes int) []byte) (buffer, error) {
	switch t {
	case allreduce.Float32:
		return newNumbers[float32](t, n, alloc), nil
	case allreduce.Float64:
		return newNumbers[float64](t, n, alloc), nil
	case allreduce.Int32:
		return newNumbers[int32](t, n, alloc), nil
	case allreduce.Int64:
		return newNumbers[int64](t, n, alloc), nil
	case allreduce.Int16:
		return newNumbers[int16](t, n, alloc), nil
	case allreduce.Int8:
		return newNumbers[int8](t, n, alloc), nil
	case allreduce.Uint8:
		return newNumbers[uint8](t, n, alloc), nil
	case allreduce.Uint16:
		return newNumbers[uint16](t, n, alloc), nil
	case allreduce.Uint32:
		return newNumbers[uint32](t, n, alloc), nil
	case allreduce.Uint64:
		return newNumbers[uint64](t, n, alloc), nil
	case allreduce.Float16:
		return newMemory(t, take[allreduce.F16](t, n, alloc),
			func(x float64) allreduce.F16 { return allreduce.NewF16(float32(x)) },
			func(x allreduce.F16) float64 { return float64(x.Float32()) }), nil
	case allreduce.BFloat16:
		return newMemory(t, take[allreduce.BF16](t, n, alloc),
			func(x float64) allreduce.BF16 { return allreduce.NewBF16(float32(x)) },
			func(x allreduce.BF16) float64 { return float64(x.Float32()) }), nil
	}
	return nil, fmt.Errorf("bench: no vectors of type %v", t)
}

// heap returns zeros in ordinary memory, aligned for every type of elements.
func heap(bytes int) []byte { return allreduce.Of(make([]int64, (bytes+7)/8)).Bytes()[:bytes] }

type memory[T allreduce.Element] struct {
	t       allreduce.Type
	x, kept []T
	from    func(float64) T
	to      func(T) float64
}

func take[T allreduce.Element](t allreduce.Type, n int, alloc func(bytes int) []byte) []T {
	return allreduce.Elements[T](allreduce.Over(alloc(n*t.Size()), t))
}

func newNumbers[T allreduce.Number](t allreduce.Type, n int, alloc func(bytes int) []byte) *memory[T] {
	m := numbersIn(t, take[T](t, n, alloc))
	m.clear(n)
	return m
}

// numbersIn returns a buffer in memory that is there already.
func numbersIn[T allreduce.Number](t allreduce.Type, x []T) *memory[T] {
	return &memory[T]{t: t, x: x, from: func(x float64) T { return T(x) }, to: func(x T) float64 { return float64(x) }}
}

func newMemory[T allreduce.Element](t allreduce.Type, x []T, from func(float64) T, to func(T) float64) *memory[T] {
	m := &memory[T]{t: t, x: x, from: from, to: to}
	m.clear(len(x))
	return m
}

func (m *memory[T]) vector(n int) allreduce.Vector { return allreduce.Of(m.x[:n]) }

func (m *memory[T]) fill(op allreduce.Op, rank, size, n int) {
	for i := range m.x[:n] {
		m.x[i] = m.from(operand(m.t, op, rank, size, i))
	}
}

func (m *memory[T]) wrong(op allreduce.Op, size, n int, tolerance float64) int {
	return m.differ(0, n, tolerance, func(i int) (want, scale float64) { return expected(m.t, op, size, i) })
}

func (m *memory[T]) differ(lo, hi int, tolerance float64, element func(i int) (want, scale float64)) int {
	count := 0
	for i, got := range m.x[lo:hi] {
		want, scale := element(lo + i)
		if !(math.Abs(m.to(got)-want) <= tolerance*scale) { // NaN is wrong
			count++
		}
	}
	return count
}

func (m *memory[T]) clear(n int)   { clear(m.x[:n]) }
func (m *memory[T]) keep(n int)    { m.kept = append(m.kept[:0], m.x[:n]...) }
func (m *memory[T]) restore(n int) { copy(m.x[:n], m.kept) }
