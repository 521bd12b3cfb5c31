package simd

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// quantiseAlike checks that a form quantises x, and reads it back, as the plain
// one does.
func quantiseAlike(t *testing.T, plain, set Set, x []float32) {
	t.Helper()
	n := len(x)
	if got, want := set.MaxAbs(x), plain.MaxAbs(x); !same(got, want, false) {
		t.Fatalf("MaxAbs of %d: %v, want %v", n, got, want)
	}
	q, wantQ := make([]int8, n+1), make([]int8, n+1)
	s, wantS := make([]float32, Blocks(n)+1), make([]float32, Blocks(n)+1)
	plain.Quantise(wantQ[:n], wantS[:Blocks(n)], x)
	set.Quantise(q[:n], s[:Blocks(n)], x)
	for i := range s {
		if !same(s[i], wantS[i], false) {
			t.Fatalf("%d elements: scale %d is %v, want %v", n, i, s[i], wantS[i])
		}
	}
	for i := range q {
		if q[i] != wantQ[i] {
			t.Fatalf("%d elements: %v in units of %v is %d, want %d", n, x[i], s[i/BlockLen], q[i], wantQ[i])
		}
	}
	for _, add := range []bool{false, true} {
		got, want := clone(append(x, 7)), clone(append(x, 7))
		form, oracle := set.Dequantise, plain.Dequantise
		if add {
			form, oracle = set.DequantiseAdd, plain.DequantiseAdd
		}
		oracle(want[:n], q, s)
		form(got[:n], q, s)
		for i := range got {
			if !same(got[i], want[i], add) {
				t.Fatalf("%d elements, add %v: element %d is %v, want %v", n, add, i, got[i], want[i])
			}
		}
	}
}

func TestQuantiseSets(t *testing.T) {
	asPlain(t, func(t *testing.T, plain, set Set) {
		wild := float32s()
		for _, n := range lengths() {
			quantiseAlike(t, plain, set, wild.slice(n))
			x := make([]float32, n+3)[3:] // finite, of all magnitudes
			for i := range x {
				x[i] = float32(rand.NormFloat64() * math.Pow(2, float64(i/BlockLen*9)-140))
			}
			quantiseAlike(t, plain, set, x)
		}
	})
}

// FuzzQuantise lets the fuzzer choose the floats.
func FuzzQuantise(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0x80, 0, 0, 0x80, 0x7f, 1, 0, 0, 0}, uint16(300))
	f.Add([]byte{0, 0, 0xfe, 0x42, 0, 0, 0x80, 0x3f}, uint16(256))
	f.Fuzz(func(t *testing.T, b []byte, n uint16) {
		x := make([]float32, n%1024)
		for i := 0; i < len(x) && len(b) >= 4; i++ {
			at := 4 * i % (len(b) &^ 3)
			x[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[at:]))
		}
		sets := Sets()
		for _, s := range sets[1:] {
			quantiseAlike(t, sets[0], s, x)
		}
		checkQuantise(t, x)
	})
}

// checkQuantise holds the kernels in use to what they promise.
func checkQuantise(t *testing.T, x []float32) {
	t.Helper()
	q, s, y := make([]int8, len(x)), make([]float32, Blocks(len(x))), make([]float32, len(x))
	Quantise(q, s, x)
	Dequantise(y, q, s)
	for i := range s {
		part, back := block(x, i), block(y, i)
		m := MaxAbs(part)
		finite := m <= math.MaxFloat32
		for j, v := range part {
			err := math.Abs(float64(v) - float64(back[j]))
			switch {
			case !finite && back[j] == back[j]:
				t.Fatalf("block %d has %v, but element %d comes back as %v", i, m, j, back[j])
			case finite && s[i] == 0 && (m >= 0x1p-119 || back[j] != 0):
				t.Fatalf("block %d up to %v has no scale, element %d comes back as %v", i, m, j, back[j])
			case finite && s[i] != 0 && err > float64(s[i])*0.5001:
				t.Fatalf("%v comes back as %v, scale %v", v, back[j], s[i])
			}
		}
	}
}

func TestQuantise(t *testing.T) {
	x := []float32{127, -127, 0.5, 1.5, -2.5, 0, 126.6}
	q, s := make([]int8, len(x)), make([]float32, 1)
	Quantise(q, s, x)
	if want := []int8{127, -127, 0, 2, -2, 0, 127}; !slices.Equal(q, want) || s[0] != 1 {
		t.Errorf("%v quantises to %v in units of %v, want %v in units of 1", x, q, s[0], want)
	}
	y := []float32{1, 1, 1, 1, 1, 1, 1}
	DequantiseAdd(y, q, s)
	if want := []float32{128, -126, 1, 3, -1, 1, 128}; !slices.Equal(y, want) {
		t.Errorf("1 and what was read back are %v, want %v", y, want)
	}
	nan := float32(math.NaN())
	for _, x := range [][]float32{{}, {0}, {1, nan, 3}, {1, float32(math.Inf(-1))}, {1e-40, -1e-45}, {math.MaxFloat32, -1}} {
		checkQuantise(t, x)
	}
	r := float32s()
	for range 200 {
		checkQuantise(t, r.slice(r.r.IntN(2000)))
	}
}
