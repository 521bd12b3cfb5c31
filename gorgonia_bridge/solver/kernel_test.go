package solver

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"

	"gorgonia.org/tensor"
)

// The kernels that are in use give the bits of the plain ones, at all lengths
// and offsets, with subnormal numbers and limits that are met exactly.
func TestKernelsAreTwins(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 1))
		n, at := rng.IntN(70), rng.IntN(8)
		in := make([][]float32, 5)
		for i := range in {
			in[i] = make([]float32, at+n)[at:]
			for j := range in[i] {
				in[i][j] = sample(rng)
			}
		}
		for j, x := range in[3] {
			in[3][j] = float32(math.Abs(float64(x)))
		}
		c := coef[float32]{
			scale: rng.Float32(), clip: 1, l2: 0.1 * rng.Float32(), rate: rng.Float32(), keep: 1 - rng.Float32()/10,
			beta1: rng.Float32(), new1: rng.Float32(), beta2: rng.Float32(), new2: rng.Float32(), eps: 1e-8,
		}
		if seed%3 == 0 {
			c.scale, c.clip = 1, float32(math.Inf(1))
		}
		p := plain[float32]()
		for name, pair := range map[string][2]func(x [][]float32){
			"sgd":      pairOf(func(k *kernels[float32], x [][]float32) { k.sgd(x[0], x[1], c) }, p),
			"momentum": pairOf(func(k *kernels[float32], x [][]float32) { k.momentum(x[0], x[1], x[2], c) }, p),
			"nesterov": pairOf(func(k *kernels[float32], x [][]float32) { k.nesterov(x[0], x[1], x[2], c) }, p),
			"rmsprop":  pairOf(func(k *kernels[float32], x [][]float32) { k.rmsprop(x[0], x[1], x[3], c) }, p),
			"adam":     pairOf(func(k *kernels[float32], x [][]float32) { k.adam(x[0], x[1], x[2], x[3], c) }, p),
			"lamb":     pairOf(func(k *kernels[float32], x [][]float32) { k.lamb(x[4], x[0], x[1], x[2], x[3], c) }, p),
		} {
			got, want := cloneAll(in), cloneAll(in)
			pair[0](got)
			pair[1](want)
			for i := range got {
				if !slices.EqualFunc(got[i], want[i], sameBits) {
					t.Fatalf("seed %d, %s of %d elements: slice %d is\n%v, plain\n%v", seed, name, n, i, got[i], want[i])
				}
			}
		}
	}
}

// pairOf returns what f does with the kernels in use, and with the plain ones.
func pairOf(f func(k *kernels[float32], x [][]float32), plain kernels[float32]) [2]func([][]float32) {
	return [2]func([][]float32){
		func(x [][]float32) { f(&kernels32, x) },
		func(x [][]float32) { f(&plain, x) },
	}
}

func sample(rng *rand.Rand) float32 {
	switch rng.IntN(12) {
	case 0:
		return math.SmallestNonzeroFloat32 * float32(rng.IntN(1000))
	case 1:
		return float32(math.Copysign(0, rng.Float64()-0.5))
	case 2:
		return float32(1 - 2*rng.IntN(2))
	case 3:
		return float32(1e18 * rng.NormFloat64())
	}
	return float32(rng.NormFloat64())
}

func cloneAll(x [][]float32) [][]float32 {
	out := make([][]float32, len(x))
	for i := range x {
		out[i] = slices.Clone(x[i])
	}
	return out
}

func sameBits(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) }

// One element anywhere that is too large, or no number, is found; smaller ones
// are not.
func TestUsable(t *testing.T) {
	inf, nan := math.Inf(1), math.NaN()
	for n := 1; n < 40; n++ {
		for at := range n {
			for _, tt := range []struct {
				x        float64
				ok32, ok bool
			}{
				{inf, false, false}, {-inf, false, false}, {nan, false, false}, {-nan, false, false},
				{0x1p64, false, true}, {-0x1p64, false, true}, {0x1p64 - 0x1p40, true, true}, {-0x1p63, true, true},
				{0x1p480, false, false}, {-0x1p480, false, false}, {0x1p480 - 0x1p427, false, true},
				{math.SmallestNonzeroFloat64, true, true}, {math.Copysign(0, -1), true, true},
			} {
				x, y := make([]float32, n), make([]float64, n)
				x[at], y[at] = float32(tt.x), tt.x
				if got := (array{f32: x}).usable(); got != tt.ok32 {
					t.Fatalf("float32 %v at %d of %d: usable is %t", tt.x, at, n, got)
				}
				if got := (array{f64: y}).usable(); got != tt.ok {
					t.Fatalf("float64 %v at %d of %d: usable is %t", tt.x, at, n, got)
				}
			}
		}
	}
}

// The order of addition is what it is said to be, and the sum is right.
func TestSquares(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for _, n := range []int{0, 1, 7, 8, 9, 100, block - 1, block, block + 1, 3*block + 13} {
		x, y := make([]float32, n), make([]float64, n)
		exact := new(big.Float).SetPrec(200)
		var want, inBlock float64
		var lane [lanes]float64
		for i := range x {
			x[i] = float32(rng.NormFloat64())
			y[i] = float64(x[i])
			exact.Add(exact, new(big.Float).SetPrec(200).SetFloat64(y[i]*y[i]))
			lane[i%block%lanes] += y[i] * y[i] // exact: 48 bits
			if i%block == block-1 || i == n-1 {
				inBlock = ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]))
				want += inBlock
				lane = [lanes]float64{}
			}
		}
		if got := kernels32.squares(x); got != want || kernels64.squares(y) != want {
			t.Errorf("%d elements: %v, %v as float64, want %v", n, got, kernels64.squares(y), want)
		}
		if e, _ := exact.Float64(); math.Abs(e-want) > 1e-13*e {
			t.Errorf("%d elements: %v, exactly %v", n, want, e)
		}
	}
}

func TestPower(t *testing.T) {
	for _, x := range []float64{0, 0.5, 0.9, 0.999, 1} {
		for _, n := range []int{0, 1, 2, 3, 10, 1000, 123456} {
			if got, want := power(x, n), math.Pow(x, float64(n)); math.Abs(got-want) > 1e-10*want {
				t.Errorf("power(%v, %d) = %v, want %v", x, n, got, want)
			}
		}
	}
}

// golden is the SHA-256 of the weights after TestGolden.
const golden = "7ef9d05d50e8065b699c5d184d754f7db0414cba2e2bf7e79a4ac9df15da2017"

// All processors come to the same bits: amd64 with and without assembly and with
// GOAMD64=v3, where the compiler may fuse, and others.
func TestGolden(t *testing.T) {
	h := sha256.New()
	for _, name := range []string{"SGD", "Momentum", "Nesterov", "RMSProp", "Adam", "AdamW", "LARS", "LAMB"} {
		for _, dt := range []tensor.Dtype{tensor.Float32, tensor.Float64} {
			m := newModel(dt, 1)
			rate := LinearScaling(Cosine(0.01, 0.001, 20), 4, 5)
			goldenTrain(t, m, solvers[name](WithSchedule(rate), WithClipNorm(3), WithClip(0.5), WithBatchSize(3)))
			for _, p := range m {
				if err := binary.Write(h, binary.LittleEndian, values(p.w)); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != golden {
		t.Errorf("the weights have the hash %s, want %s", got, golden)
	}
}

// goldenTrain steps with gradients made of integers, which all processors agree on.
func goldenTrain(t *testing.T, m model, s *Solver) {
	rng := rand.New(rand.NewPCG(9, 9))
	draw := func() float64 { return float64(rng.IntN(2001)-1000) / 1024 }
	set := func(a array) {
		for i := range a.f32 {
			a.f32[i] = float32(draw())
		}
		for i := range a.f64 {
			a.f64[i] = draw()
		}
	}
	for _, p := range m {
		set(mustMemory(p.w))
	}
	for range 20 {
		for _, p := range m {
			set(mustMemory(p.g))
		}
		if err := s.Step(m.valueGrads()); err != nil {
			t.Fatal(err)
		}
	}
}
