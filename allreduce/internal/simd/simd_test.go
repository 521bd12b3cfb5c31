package simd

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/x448/float16"
)

// TestKernels compares all forms with the meaning of the operators, at odd
// lengths and alignments.
func TestKernels(t *testing.T) {
	for _, s := range Sets() {
		t.Run(s.Level, func(t *testing.T) { testSet(t, s) })
	}
}

func testSet(t *testing.T, s Set) {
	testKernels(t, s.Float32, func(r *rand.Rand) float32 { return math.Float32frombits(r.Uint32()) })
	testKernels(t, s.Float64, func(r *rand.Rand) float64 { return math.Float64frombits(r.Uint64()) })
	testKernels(t, s.Int32, func(r *rand.Rand) int32 { return int32(r.Uint32()) })
	testKernels(t, s.Int64, func(r *rand.Rand) int64 { return int64(r.Uint64()) })
}

func testKernels[T Number](t *testing.T, k Kernels[T], draw func(*rand.Rand) T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, tt := range []struct {
		name string
		f    func(dst, src []T)
		want func(dst, src T) T
	}{
		{"Add", k.Add, func(d, s T) T { return s + d }},
		{"Min", k.Min, func(d, s T) T { return min(s, d) }},
		{"Max", k.Max, func(d, s T) T { return max(s, d) }},
		{"Mul", k.Mul, func(d, s T) T { return s * d }},
		{"Sum", func(dst, src []T) { k.Sum([][]T{dst}, [][]T{src, dst, src}) }, func(d, s T) T { return s + d + s }},
		{"AddScale", func(dst, src []T) { k.AddScale(dst, src, 3) }, func(d, s T) T { return (s + d) * 3 }},
		{"Scale", func(dst, src []T) { k.Scale(dst, 3) }, func(d, _ T) T { return d * 3 }},
	} {
		for n := range 70 {
			for shift := range 3 {
				dst, src := make([]T, n+5)[shift:shift+n], make([]T, n+5)[2-shift:2-shift+n]
				want := make([]T, n)
				for i := range dst {
					dst[i], src[i] = draw(r), draw(r)
					want[i] = tt.want(dst[i], src[i])
				}
				tt.f(dst, src)
				for i := range dst {
					if dst[i] != want[i] && (dst[i] == dst[i] || want[i] == want[i]) {
						t.Fatalf("%T %s of %d elements: element %d is %v, want %v", want, tt.name, n, i, dst[i], want[i])
					}
				}
			}
		}
	}
}

// TestHalf compares with x448/float16, whose conversions were checked against
// hardware: every half, and floats around every border.
func TestHalf(t *testing.T) {
	all := make([]uint16, 1<<16)
	for i := range all {
		all[i] = uint16(i)
	}
	f := make([]float32, len(all))
	Float32FromHalf(f, all)
	for i, got := range f {
		want := float16.Frombits(uint16(i)).Float32()
		if math.Float32bits(got) != math.Float32bits(want) {
			t.Fatalf("half %#04x is %v (%#x), want %v (%#x)", i, got, math.Float32bits(got), want, math.Float32bits(want))
		}
	}
	var x []float32
	for _, v := range f { // halves, the middles between them, and their neighbours
		u := math.Float32bits(v)
		for _, d := range []uint32{0, 1, 1<<12 - 1, 1 << 12, 1<<12 + 1, 1<<13 - 1} {
			x = append(x, math.Float32frombits(u+d), math.Float32frombits(u-d))
		}
	}
	for i := range uint32(1 << 20) {
		x = append(x, math.Float32frombits(i*4093))
	}
	checkHalves(t, x)
}

func checkHalves(t *testing.T, x []float32) {
	t.Helper()
	h := make([]uint16, len(x))
	HalfFromFloat32(h, x)
	for i, got := range h {
		if want := float16.Fromfloat32(x[i]).Bits(); got != want {
			t.Fatalf("%v (%#x) is half %#04x, want %#04x", x[i], math.Float32bits(x[i]), got, want)
		}
	}
}

func BenchmarkKernels(b *testing.B) {
	for _, kb := range []int{64, 16 << 10} {
		benchmark(b, "float32", kb, Float32, 1)
		benchmark(b, "float64", kb, Float64, 1)
		benchmark(b, "int32", kb, Int32, 1)
		benchmark(b, "int64", kb, Int64, 1)
		f, h := make([]float32, kb<<8), make([]uint16, kb<<8)
		for i := range f {
			f[i] = float32(rand.NormFloat64())
		}
		run(b, "HalfFromFloat32", "float32", kb, func() { HalfFromFloat32(h, f) })
		run(b, "Float32FromHalf", "float32", kb, func() { Float32FromHalf(f, h) })
	}
}

func benchmark[T Number](b *testing.B, name string, kb int, k Kernels[T], one T) {
	n := kb << 10 / int(unsafe.Sizeof(one))
	dst, src := make([]T, n), make([]T, n)
	for i := range dst {
		dst[i], src[i] = T(rand.IntN(1000)), T(rand.IntN(1000))
	}
	run(b, "Add", name, kb, func() { k.Add(dst, src) })
	run(b, "Min", name, kb, func() { k.Min(dst, src) })
	run(b, "Mul", name, kb, func() { k.Mul(dst, src) })
	run(b, "Scale", name, kb, func() { k.Scale(dst, one) })
}

func run(b *testing.B, op, typ string, kb int, f func()) {
	b.Run(fmt.Sprintf("op=%s/type=%s/KB=%d", op, typ, kb), func(b *testing.B) {
		b.SetBytes(int64(kb) << 10)
		for b.Loop() {
			f()
		}
	})
}
