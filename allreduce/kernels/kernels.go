// Package kernels shows the inner loops of allreduce to programs that measure
// them. It is not needed to use them.
package kernels

import (
	"math"
	"unsafe"

	"github.com/ringrun/ringrun/allreduce/internal/simd"
)

// A Kernel is one form of a loop, with memory to work on.
type Kernel struct {
	Name    string
	Level   string  // "go", "avx2", "avx512", or "library": that chooses itself
	Traffic float64 // bytes read and written for each byte of the vector
	Run     func()  // once over the vector
}

// Copy is the name of the kernel to compare the others with: Go's own copy.
const Copy = "copy"

// Memory is what kernels work on: the largest vectors that they may have. They
// share it, so only one can run at a time.
type Memory struct{ vectors [5][]uint64 }

// NewMemory returns memory for vectors of up to size bytes.
func NewMemory(size int) *Memory {
	m := new(Memory)
	for i := range m.vectors {
		m.vectors[i] = make([]uint64, (size+7)/8)
		for j := range m.vectors[i] {
			m.vectors[i][j] = ones // also makes the pages exist
		}
	}
	return m
}

// ones are two numbers 1 as float32, and something harmless as all other types:
// nothing that processors are slow with.
const ones = 0x3f800000_3f800000

// Kernels returns all loops in all forms that this processor can run, for
// vectors of size bytes, which must be a multiple of 1024.
func (m *Memory) Kernels(size int) []Kernel {
	var all []Kernel
	add := func(name, level string, traffic float64, run func()) {
		all = append(all, Kernel{name, level, traffic, run})
	}
	dst, src := vector[byte](m, 0, size), vector[byte](m, 1, size)
	add(Copy, "go", 2, func() { copy(dst, src) })
	for _, s := range simd.Sets() {
		if s.Level != "go" { // where it is copy
			add("copy past the caches", s.Level, 2, func() { s.Stream(dst, src) })
		}
	}
	for _, s := range simd.Sets() {
		arithmetic(add, m, size, "float32", s.Level, s.Float32)
		arithmetic(add, m, size, "float64", s.Level, s.Float64)
		arithmetic(add, m, size, "int32", s.Level, s.Int32)
		arithmetic(add, m, size, "int64", s.Level, s.Int64)
		formats(add, m, size, s)
	}
	add("hash", "library", 1, func() { hashed += simd.Hash(src) })
	return all
}

// Results that nobody needs are kept here, or the work might be left out.
var (
	hashed uint64
	most   float32
)

type adder func(name, level string, traffic float64, run func())

// arithmetic adds the loops of one type.
func arithmetic[T simd.Number](add adder, m *Memory, size int, typ, level string, k simd.Kernels[T]) {
	var v [len(m.vectors)][]T
	for i := range v {
		v[i] = vector[T](m, i, size)
	}
	add("add "+typ, level, 3, func() { k.Add(v[0], v[1]) })
	add("min "+typ, level, 3, func() { k.Min(v[0], v[1]) })
	add("max "+typ, level, 3, func() { k.Max(v[0], v[1]) })
	add("multiply "+typ, level, 3, func() { k.Mul(v[0], v[1]) })
	add("scale "+typ, level, 2, func() { k.Scale(v[0], 1) })
	add("add-scale "+typ, level, 3, func() { k.AddScale(v[0], v[1], 1) })
	both, four, fifth := v[:2], v[:4], v[4:]
	add("sum of 2 to both "+typ, level, 4, func() { k.Sum(both, both) })
	add("sum of 4 "+typ, level, 5, func() { k.Sum(fifth, four) })
}

// formats adds conversions and quantisation, all of float32.
func formats(add adder, m *Memory, size int, s simd.Set) {
	dst, src := vector[float32](m, 0, size), vector[float32](m, 1, size)
	h := vector[uint16](m, 2, size/2)
	q, scales := vector[int8](m, 3, size/4), vector[float32](m, 4, 4*simd.Blocks(len(src)))
	add("float32 to half", s.Level, 1.5, func() { s.HalfFromFloat32(h, src) })
	add("half to float32", s.Level, 1.5, func() { s.Float32FromHalf(dst, h) })
	add("float32 to bfloat16", s.Level, 1.5, func() { s.BFloat16FromFloat32(h, src) })
	add("bfloat16 to float32", s.Level, 1.5, func() { s.Float32FromBFloat16(dst, h) })
	add("max-abs", s.Level, 1, func() { most = float32(math.Max(float64(most), float64(s.MaxAbs(src)))) })
	add("quantise to int8", s.Level, 1.25, func() { s.Quantise(q, scales, src) })
	add("dequantise", s.Level, 1.25, func() { s.Dequantise(dst, q, scales) })
	add("dequantise and add", s.Level, 2.25, func() { s.DequantiseAdd(dst, q, scales) })
}

// vector returns the first size bytes of a vector as elements of another type.
func vector[T any](m *Memory, i, size int) []T {
	var element T
	return unsafe.Slice((*T)(unsafe.Pointer(&m.vectors[i][0])), size/int(unsafe.Sizeof(element)))
}
