package codec_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/ringrun/ringrun/allreduce"
	"github.com/ringrun/ringrun/allreduce/codec"
)

func byName(t testing.TB, name string) allreduce.Codec {
	t.Helper()
	c, err := codec.ByName(name)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestByName(t *testing.T) {
	for id, name := range []string{"raw", "half", "zstd"} {
		if c := byName(t, name); c.Name() != name || int(c.ID()) != id {
			t.Errorf("ByName(%q) is %q with ID %d, want ID %d", name, c.Name(), c.ID(), id)
		}
	}
	if _, err := codec.ByName("gzip"); err == nil || !strings.Contains(err.Error(), `"gzip"`) {
		t.Errorf("ByName(gzip): %v", err)
	}
}

// gradients returns numbers as gradients have them: small, of many magnitudes,
// some zero.
func gradients(r *rand.Rand, n int) []float64 {
	x := make([]float64, n)
	for i := range x {
		if r.IntN(10) > 0 {
			x[i] = r.NormFloat64() * math.Exp(-5*r.Float64())
		}
	}
	return x
}

// vectors returns the same numbers as every type.
func vectors(x []float64) []allreduce.Vector {
	f, i, l := make([]float32, len(x)), make([]int32, len(x)), make([]int64, len(x))
	for k, v := range x {
		f[k], i[k], l[k] = float32(v), int32(1000*v), int64(1e6*v)
	}
	d := append([]float64(nil), x...)
	return []allreduce.Vector{allreduce.Of(f), allreduce.Of(d), allreduce.Of(i), allreduce.Of(l)}
}

// TestLossless holds raw and zstd to give back every bit of every type, and
// what they say about sizes to be true.
func TestLossless(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for _, name := range []string{"raw", "zstd"} {
		c := byName(t, name)
		if c.Lossy() {
			t.Errorf("%s says that it is lossy", name)
		}
		for _, n := range []int{0, 1, 2, 100, 5000, 65536} {
			for _, x := range vectors(gradients(r, n)) {
				want := string(x.Bytes())
				b := c.AppendTo([]byte("before"), x)
				if string(b[:6]) != "before" {
					t.Fatalf("%s overwrites what was there", name)
				}
				b = b[6:]
				if most := c.Bound(x.Type(), n); !c.Supports(x.Type()) || len(b) > most {
					t.Fatalf("%s: %d %v in %d bytes, the bound is %d", name, n, x.Type(), len(b), most)
				}
				clear(x.Bytes())
				if err := c.Decode(x, b); err != nil {
					t.Fatalf("%s: %d %v: %v", name, n, x.Type(), err)
				}
				if string(x.Bytes()) != want {
					t.Errorf("%s: %d %v come back with other bits", name, n, x.Type())
				}
			}
		}
	}
}

// TestZstdCompresses holds zstd to be worth its name: a quarter of gradients,
// their exponents, compress well; integers and zeros better.
func TestZstdCompresses(t *testing.T) {
	c := byName(t, "zstd")
	x := gradients(rand.New(rand.NewPCG(2, 2)), 65536)
	for i, most := range []float64{0.95, 0.95, 0.6, 0.6} {
		v := vectors(x)[i]
		if got := float64(len(c.AppendTo(nil, v))) / float64(len(v.Bytes())); got > most {
			t.Errorf("%v: compressed to %.2f, want %.2f at most", v.Type(), got, most)
		}
	}
	zeros := allreduce.Of(make([]float32, 65536))
	if got := len(c.AppendTo(nil, zeros)); got > 200 {
		t.Errorf("65536 zeros in %d bytes", got)
	}
}

// TestHalf holds the error to half a unit in the eleventh bit, encoding to be
// stable, and the borders of the range to what IEEE 754 says.
func TestHalf(t *testing.T) {
	c := byName(t, "half")
	for _, typ := range []allreduce.Type{allreduce.Int32, allreduce.Int64} {
		if c.Supports(typ) {
			t.Errorf("half supports %v", typ)
		}
	}
	x := append(gradients(rand.New(rand.NewPCG(3, 3)), 10001),
		65504, -65519, 65520, 1e30, math.Inf(-1), math.NaN(), 1<<14, 0x1p-14, 0x1p-24, 0x1p-26, math.Copysign(0, -1))
	for _, v := range vectors(x)[:2] {
		b := c.AppendTo(nil, v)
		if len(b) != 2*v.Len() || c.Bound(v.Type(), v.Len()) != len(b) {
			t.Fatalf("%d elements in %d bytes", v.Len(), len(b))
		}
		if err := c.Decode(v, b); err != nil {
			t.Fatal(err)
		}
		got := floats(v)
		for i, w := range x {
			if err := checkHalf(got[i], w); err != nil {
				t.Errorf("%v: %v", v.Type(), err)
			}
		}
		if string(c.AppendTo(nil, v)) != string(b) {
			t.Errorf("%v: encoding what was decoded gives something else", v.Type())
		}
	}
}

func floats(v allreduce.Vector) []float64 {
	if v.Type() == allreduce.Float64 {
		return allreduce.Elements[float64](v)
	}
	var x []float64
	for _, f := range allreduce.Elements[float32](v) {
		x = append(x, float64(f))
	}
	return x
}

func checkHalf(got, x float64) error {
	switch {
	case math.IsNaN(x):
		if !math.IsNaN(got) {
			return fmt.Errorf("NaN becomes %v", got)
		}
	case math.Abs(x) >= 65520:
		if !math.IsInf(got, int(math.Copysign(1, x))) {
			return fmt.Errorf("%v becomes %v, want an infinity", x, got)
		}
	case math.Abs(got-x) > max(math.Abs(x)*0x1p-11, 0x1p-25)*1.001 || math.Signbit(got) != math.Signbit(x):
		return fmt.Errorf("%v becomes %v", x, got)
	}
	return nil
}

// TestDecodeErrors shows bytes to the decoders that are not theirs.
func TestDecodeErrors(t *testing.T) {
	x := allreduce.Of(make([]float32, 100))
	for _, name := range []string{"raw", "half", "zstd"} {
		c := byName(t, name)
		b := c.AppendTo(nil, x)
		for _, bad := range [][]byte{nil, b[:len(b)-1], append(b[:len(b):len(b)], 0), {1, 2, 3, 4, 5}} {
			if err := c.Decode(x, bad); err == nil {
				t.Errorf("%s decodes %d bytes, %d are right", name, len(bad), len(b))
			}
		}
	}
	// A plane that says it is larger than it may be.
	z := byName(t, "zstd")
	big := z.AppendTo(nil, allreduce.Of(make([]float32, 1<<20)))
	if err := z.Decode(x, big); err == nil {
		t.Error("zstd decodes a million elements into a hundred")
	}
}

func BenchmarkCodec(b *testing.B) {
	for _, name := range []string{"half", "zstd"} {
		c := byName(b, name)
		x := vectors(gradients(rand.New(rand.NewPCG(4, 4)), 1<<16))[0]
		enc := c.AppendTo(nil, x)
		b.Run("codec="+name+"/do=encode", func(b *testing.B) {
			b.SetBytes(int64(len(x.Bytes())))
			for b.Loop() {
				enc = c.AppendTo(enc[:0], x)
			}
			b.ReportMetric(float64(len(enc))/float64(len(x.Bytes())), "ratio")
		})
		b.Run("codec="+name+"/do=decode", func(b *testing.B) {
			b.SetBytes(int64(len(x.Bytes())))
			for b.Loop() {
				if err := c.Decode(x, enc); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestHalfAnywhere holds half to the same bytes wherever they lie: it may take
// another way where memory is not aligned.
func TestHalfAnywhere(t *testing.T) {
	c := byName(t, "half")
	for _, x := range vectors(gradients(rand.New(rand.NewPCG(3, 3)), 2500))[:2] {
		even, odd := c.AppendTo([]byte{1, 2}, x)[2:], c.AppendTo([]byte{1}, x)[1:]
		if string(even) != string(odd) {
			t.Fatalf("%v: other bytes at an odd address", x.Type())
		}
		if err := c.Decode(x, even); err != nil {
			t.Fatal(err)
		}
		want := string(x.Bytes())
		clear(x.Bytes())
		if err := c.Decode(x, odd); err != nil {
			t.Fatal(err)
		}
		if string(x.Bytes()) != want {
			t.Errorf("%v: other elements from an odd address", x.Type())
		}
	}
}
