package simd

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// asPlain runs f for every form in assembly, beside the plain form.
func asPlain(t *testing.T, f func(t *testing.T, plain, set Set)) {
	sets := Sets()
	if len(sets) == 1 {
		t.Skip("this build and processor have only the plain form")
	}
	for _, s := range sets[1:] {
		t.Run(s.Level, func(t *testing.T) { f(t, sets[0], s) })
	}
}

// lengths are the counts of elements to try: all that differ in how they fill
// vectors and blocks, and some.
func lengths() []int {
	n := []int{255, 256, 257, 511, 512, 513, 1000, 4095, 4096 + 31, 16*BlockLen + 3, 33*BlockLen + 255}
	for i := range 205 {
		n = append(n, i)
	}
	return n
}

// A source draws the elements of tests: any bits, numbers of every day, and
// those at which mistakes are made.
type source[T Number] struct {
	r       *rand.Rand
	bits    func(*rand.Rand) T
	special []T
}

func (s source[T]) draw() T {
	switch s.r.IntN(3) {
	case 0:
		return s.bits(s.r)
	case 1:
		return s.special[s.r.IntN(len(s.special))]
	}
	return T(s.r.IntN(2000) - 1000)
}

// slice returns n drawn elements that begin anywhere.
func (s source[T]) slice(n int) []T {
	shift := s.r.IntN(4)
	x := make([]T, n+shift)[shift:]
	for i := range x {
		x[i] = s.draw()
	}
	return x
}

func seeded() *rand.Rand { return rand.New(rand.NewPCG(3, 4)) }

var specials = []float64{
	0, math.Copysign(0, -1), 1, -1, 0.5, math.NaN(), math.Inf(1), math.Inf(-1),
	math.MaxFloat32, -math.MaxFloat32, math.MaxFloat64, math.SmallestNonzeroFloat64,
	math.SmallestNonzeroFloat32, -math.SmallestNonzeroFloat32, 0x1p-126, -0x1p-127, 0x1.8p-140,
	65504, 65519.99, 65520, -65520, 0x1p-24, 0x1p-25, 0x1.8p-25, -0x1p-14, 127 * 0x1p-126,
}

func float32s() source[float32] {
	s := source[float32]{r: seeded(), bits: func(r *rand.Rand) float32 { return math.Float32frombits(r.Uint32()) }}
	for _, v := range specials {
		s.special = append(s.special, float32(v))
	}
	s.special = append(s.special, math.Float32frombits(0x7f800001), math.Float32frombits(0xffffffff), math.Float32frombits(0x7fc00123))
	return s
}

func float64s() source[float64] {
	return source[float64]{seeded(), func(r *rand.Rand) float64 { return math.Float64frombits(r.Uint64()) },
		append(specials, math.Float64frombits(0x7ff0000000000001), math.Float64frombits(0xffffffffffffffff))}
}

func int32s() source[int32] {
	return source[int32]{seeded(), func(r *rand.Rand) int32 { return int32(r.Uint32()) },
		[]int32{0, 1, -1, math.MaxInt32, math.MinInt32}}
}

func int64s() source[int64] {
	return source[int64]{seeded(), func(r *rand.Rand) int64 { return int64(r.Uint64()) },
		[]int64{0, 1, -1, math.MaxInt64, math.MinInt64, math.MaxInt32, 1 << 32}}
}

// TestSets holds the forms in assembly to the plain one, bit for bit.
func TestSets(t *testing.T) {
	asPlain(t, func(t *testing.T, plain, set Set) {
		testArithmetic(t, plain.Float32, set.Float32, float32s())
		testArithmetic(t, plain.Float64, set.Float64, float64s())
		testArithmetic(t, plain.Int32, set.Int32, int32s())
		testArithmetic(t, plain.Int64, set.Int64, int64s())
	})
}

func testArithmetic[T Number](t *testing.T, plain, set Kernels[T], from source[T]) {
	for _, tt := range []struct {
		name        string
		plain, form func(dst, src []T)
	}{
		{"Add", plain.Add, set.Add},
		{"Min", plain.Min, set.Min},
		{"Max", plain.Max, set.Max},
		{"Mul", plain.Mul, set.Mul},
		{"Scale", scaler(plain), scaler(set)},
		{"AddScale", func(d, s []T) { plain.AddScale(d, s, 3) }, func(d, s []T) { set.AddScale(d, s, 3) }},
	} {
		for _, n := range lengths() {
			dst, src := from.slice(n+5), from.slice(n) // the last five are not for it
			want, before := clone(dst), clone(dst)
			tt.plain(want[:n], src)
			tt.form(dst[:n], src)
			for i := range dst {
				loose := i < n && tt.name != "Scale" && before[i] != before[i] && src[i] != src[i]
				if !same(dst[i], want[i], loose) {
					t.Fatalf("%T %s of %d elements: element %d, which was %v, is %v, want %v",
						before[i], tt.name, n, i, before[i], dst[i], want[i])
				}
			}
		}
	}
	testSums(t, plain, set, from)
}

// scaler scales by one number or another.
func scaler[T Number](k Kernels[T]) func(dst, src []T) {
	return func(dst, src []T) { k.Scale(dst, T(len(dst)%7)) }
}

func testSums[T Number](t *testing.T, plain, set Kernels[T], from source[T]) {
	for _, n := range lengths() {
		for _, tt := range []struct{ dsts, srcs int }{{1, 1}, {1, 2}, {2, 2}, {1, 5}, {3, 4}} {
			var srcs, own [][]T // own: a copy of srcs that the plain form may use up
			for range tt.srcs {
				srcs = append(srcs, from.slice(n+3))
				own = append(own, clone(srcs[len(srcs)-1]))
			}
			// The first dst is the last of the sources.
			dsts, want := [][]T{srcs[tt.srcs-1][:n]}, [][]T{own[tt.srcs-1][:n]}
			for range tt.dsts - 1 {
				dsts, want = append(dsts, make([]T, n+3)), append(want, make([]T, n+3))
			}
			name := fmt.Sprintf("%T Sum of %d to %d, %d elements", srcs[0], tt.srcs, tt.dsts, n)
			if n%2 == 0 {
				plain.Sum(want, own)
				set.Sum(dsts, srcs)
			} else {
				plain.SumScale(want, own, 3)
				set.SumScale(dsts, srcs, 3)
			}
			for d := range dsts {
				for i := range dsts[d] {
					if !same(dsts[d][i], want[d][i], true) {
						t.Fatalf("%s: element %d of destination %d is %v, want %v", name, i, d, dsts[d][i], want[d][i])
					}
				}
			}
		}
	}
}

// same compares bits; or if loose lets any NaN do for any other.
func same[T Number](got, want T, loose bool) bool {
	if got != got && want != want && loose {
		return true
	}
	return bitsOf(got) == bitsOf(want)
}

func bitsOf[T Number](x T) uint64 {
	switch x := any(x).(type) {
	case float32:
		return uint64(math.Float32bits(x))
	case float64:
		return math.Float64bits(x)
	case int32:
		return uint64(x)
	case int64:
		return uint64(x)
	}
	panic("no such type")
}

func clone[T any](x []T) []T { return append([]T{}, x...) }

// TestConversionSets does the same for the formats of 16 bits: all of them, and
// all floats that can matter for rounding.
func TestConversionSets(t *testing.T) {
	asPlain(t, func(t *testing.T, plain, set Set) {
		all := make([]uint16, 1<<16)
		for i := range all {
			all[i] = uint16(i)
		}
		widen(t, "Float32FromHalf", plain.Float32FromHalf, set.Float32FromHalf, all)
		widen(t, "Float32FromBFloat16", plain.Float32FromBFloat16, set.Float32FromBFloat16, all)
		var x []float32
		for hi := range uint32(1 << 16) { // every sign, exponent and upper fraction
			for _, lo := range []uint32{0, 1, 0x0fff, 0x1000, 0x1001, 0x2fff, 0x3000, 0x7fff, 0x8000, 0x8001, 0xffff} {
				x = append(x, math.Float32frombits(hi<<16|lo))
			}
		}
		narrow(t, "HalfFromFloat32", plain.HalfFromFloat32, set.HalfFromFloat32, x)
		narrow(t, "BFloat16FromFloat32", plain.BFloat16FromFloat32, set.BFloat16FromFloat32, x)
		for _, n := range lengths() {
			x, h := float32s().slice(n), all[n:2*n]
			narrow(t, "HalfFromFloat32", plain.HalfFromFloat32, set.HalfFromFloat32, x)
			narrow(t, "BFloat16FromFloat32", plain.BFloat16FromFloat32, set.BFloat16FromFloat32, x)
			widen(t, "Float32FromHalf", plain.Float32FromHalf, set.Float32FromHalf, h)
			widen(t, "Float32FromBFloat16", plain.Float32FromBFloat16, set.Float32FromBFloat16, h)
		}
	})
}

func widen(t *testing.T, name string, plain, form func([]float32, []uint16), x []uint16) {
	t.Helper()
	got, want := make([]float32, len(x)+1), make([]float32, len(x)+1)
	plain(want[:len(x)], x)
	form(got[:len(x)], x)
	for i := range got {
		if !same(got[i], want[i], false) {
			t.Fatalf("%s of %d: element %d is %v, want %v", name, len(x), i, got[i], want[i])
		}
	}
}

func narrow(t *testing.T, name string, plain, form func([]uint16, []float32), x []float32) {
	t.Helper()
	got, want := make([]uint16, len(x)+1), make([]uint16, len(x)+1)
	plain(want[:len(x)], x)
	form(got[:len(x)], x)
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("%s of %d: %v (%#x) is %#04x, want %#04x", name, len(x), x[i], math.Float32bits(x[i]), got[i], want[i])
		}
	}
}
