package allreduce_test

import (
	"context"
	"fmt"
	"math"
	"testing"

	"github.com/ringrun/ringrun/allreduce"
	"github.com/ringrun/ringrun/ring/ringtest"
)

// TestBF16 holds every value to survive, and the rounding of what lies between
// to go to the nearest, or the even one.
func TestBF16(t *testing.T) {
	for u := range 1 << 16 {
		b := allreduce.BF16(u)
		f := b.Float32()
		if f != f {
			if g := allreduce.NewBF16(f).Float32(); g == g {
				t.Fatalf("the NaN %#04x becomes %v", u, g)
			}
			continue
		}
		if got := allreduce.NewBF16(f); got != b {
			t.Fatalf("%#04x is %v, which is %#04x", u, f, got)
		}
		if math.IsInf(float64(f), 0) {
			continue
		}
		bits := uint32(u) << 16 // towards larger magnitudes
		for _, tt := range []struct {
			add  uint32
			want allreduce.BF16
		}{{0x7fff, b}, {0x8000, b + b&1}, {0x8001, b + 1}} {
			if got := allreduce.NewBF16(math.Float32frombits(bits + tt.add)); got != tt.want {
				t.Fatalf("%#08x is rounded to %#04x, want %#04x", bits+tt.add, got, tt.want)
			}
		}
	}
}

// TestNarrowLimits has means that fit the type of sums that do not, wrapping
// integers, and NaN.
func TestNarrowLimits(t *testing.T) {
	const n = 3
	nan := float32(math.NaN())
	for _, pad := range []int{0, 20000} { // exchanged, relayed
		g := open(t, n, ringtest.Options{}, allreduce.Config{})
		g.must(func(ctx context.Context, c *allreduce.Comm) error {
			h := append([]allreduce.F16{allreduce.NewF16(60000), allreduce.NewF16(1), allreduce.NewF16(1)}, make([]allreduce.F16, pad)...)
			b := append([]allreduce.BF16{allreduce.NewBF16(3e38), allreduce.NewBF16(1)}, make([]allreduce.BF16, pad)...)
			i := append([]int8{100, -128, int8(c.Rank())}, make([]int8, pad)...)
			if c.Rank() == 1 {
				h[2], b[1] = allreduce.NewF16(nan), allreduce.NewBF16(nan)
			}
			if err := c.AllReduce(ctx, allreduce.Of(h), allreduce.Mean); err != nil {
				return err
			}
			if err := c.AllReduce(ctx, allreduce.Of(b), allreduce.Max); err != nil {
				return err
			}
			if err := c.AllReduce(ctx, allreduce.Of(i), allreduce.Sum); err != nil {
				return err
			}
			// a sum of three times 100 is 300, and 300-256 is 44
			if f := h[0].Float32(); math.Abs(float64(f)-60000) > 64 || h[1].Float32() < 0.999 || h[2].Float32() == h[2].Float32() {
				return fmt.Errorf("means of float16: %v %v %v", f, h[1].Float32(), h[2].Float32())
			}
			if f := b[0].Float32(); f < 2.9e38 || f > 3.1e38 || b[1].Float32() == b[1].Float32() {
				return fmt.Errorf("maxima of bfloat16: %v %v", f, b[1].Float32())
			}
			if i[0] != 44 || i[1] != -128 || i[2] != 3 {
				return fmt.Errorf("sums of int8: %v", i[:3])
			}
			return nil
		})
		g.close()
	}
}

// TestTypeNumbers pins what is on the wire.
func TestTypeNumbers(t *testing.T) {
	for i, name := range []string{"float32", "float64", "int32", "int64", "int8", "uint8", "int16", "float16", "bfloat16"} {
		if typ := allreduce.Type(i + 1); typ.String() != name {
			t.Errorf("type %d is %v, want %s", i+1, typ, name)
		}
	}
	for i, op := range []allreduce.Op{allreduce.Sum, allreduce.Mean, allreduce.Min, allreduce.Max, allreduce.Product, allreduce.And, allreduce.Or} {
		if int(op) != i {
			t.Errorf("%v is %d, want %d", op, int(op), i)
		}
	}
}
