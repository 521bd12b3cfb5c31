package bench

import (
	"math"

	"github.com/ringrun/ringrun/allreduce"
)

// operand returns element i of the vector with which rank enters an operation
// among size peers. The same everywhere, so that every peer knows the result.
//
// Integers are so small that their sums fit, and those without signs are not
// negative. Floats have 20 significant bits: their sums in float32 are exact, and
// a codec that rounds without being asked to is seen; those of 16 bits are small
// integers. Factors are ±1, but for one rank, whose factor is up to 5: no product
// overflows.
func operand(t allreduce.Type, op allreduce.Op, rank, size, i int) float64 {
	h := mix(uint64(rank)<<40 ^ uint64(i))
	most := largest(t, size)
	switch {
	case op == allreduce.Product && i%size == rank:
		return float64(1 + i%5)
	case op == allreduce.Product && unsigned(t):
		return 1
	case op == allreduce.Product:
		return 1 - 2*float64(h&1)
	case unsigned(t):
		return float64(h % (most + 1))
	case most > 0:
		return float64(h%(2*most+1)) - float64(most)
	}
	return float64(h&(1<<20-1))/(1<<17) - 4
}

// largest returns the largest operand of what has small integers, else 0.
func largest(t allreduce.Type, size int) uint64 {
	switch {
	case t == allreduce.Uint8:
		return uint64(min(100, 255/size))
	case t == allreduce.Int8:
		return uint64(min(100, 127/size))
	case integral(t):
		return 100
	case t.Size() == 2:
		return 3
	}
	return 0
}

// mix is the finaliser of splitmix64.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// expected returns element i of the result, and the sum of what went in without
// signs, to which rounding errors compare.
func expected(t allreduce.Type, op allreduce.Op, size, i int) (want, scale float64) {
	for r := range size {
		x := operand(t, op, r, size, i)
		scale += math.Abs(x)
		switch {
		case r == 0:
			want = x
		case op == allreduce.Min:
			want = min(want, x)
		case op == allreduce.Max:
			want = max(want, x)
		case op == allreduce.Product:
			want *= x
		case op == allreduce.And:
			want = float64(int64(want) & int64(x))
		case op == allreduce.Or:
			want = float64(int64(want) | int64(x))
		default:
			want += x
		}
	}
	if op == allreduce.Mean {
		want, scale = want/float64(size), scale/float64(size)
		if integral(t) {
			want = math.Trunc(want)
		}
	}
	return want, scale
}

// tolerance returns by which share of its scale a result may differ.
func tolerance(t allreduce.Type, codec string, size int) float64 {
	switch {
	case integral(t):
		return 0
	case codec == "half": // rounds to 11 bits at every hop, and once more at the end
		return float64(size+1) / (1 << 11)
	case t == allreduce.Float64:
		return 1e-12
	case t == allreduce.Float16:
		return float64(size+1) / (1 << 11)
	case t == allreduce.BFloat16:
		return float64(size+1) / (1 << 8)
	}
	return 1e-6
}

func integral(t allreduce.Type) bool {
	switch t {
	case allreduce.Float32, allreduce.Float64, allreduce.Float16, allreduce.BFloat16:
		return false
	}
	return true
}

func unsigned(t allreduce.Type) bool {
	switch t {
	case allreduce.Uint8, allreduce.Uint16, allreduce.Uint32, allreduce.Uint64:
		return true
	}
	return false
}
