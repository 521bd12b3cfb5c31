package codec_test

import (
	"testing"

	"github.com/ringrun/ringrun/allreduce"
)

// FuzzDecode gives any bytes to every decoder: it must refuse them or decode
// them, and what it has decoded must be stable under encoding.
func FuzzDecode(f *testing.F) {
	for _, name := range []string{"raw", "half", "zstd"} {
		c := byName(f, name)
		for _, v := range vectors([]float64{0, 1, -2.5, 1e-9, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7})[:2] {
			f.Add(c.ID(), v.Len(), c.AppendTo(nil, v))
		}
		zeros := allreduce.Of(make([]float32, 1000))
		f.Add(c.ID(), zeros.Len(), c.AppendTo(nil, zeros))
	}
	codecs := []allreduce.Codec{byName(f, "raw"), byName(f, "half"), byName(f, "zstd")}
	f.Fuzz(func(t *testing.T, id uint8, n int, b []byte) {
		if n < 0 || n > 1<<16 {
			return
		}
		c := codecs[int(id)%len(codecs)]
		for _, x := range []allreduce.Vector{allreduce.Of(make([]float32, n)), allreduce.Of(make([]float64, n))} {
			if c.Decode(x, b) != nil {
				continue
			}
			once := string(x.Bytes())
			again := c.AppendTo(nil, x)
			if most := c.Bound(x.Type(), n); len(again) > most {
				t.Fatalf("%s: %d elements encoded in %d bytes, the bound is %d", c.Name(), n, len(again), most)
			}
			if err := c.Decode(x, again); err != nil {
				t.Fatalf("%s cannot read what it wrote: %v", c.Name(), err)
			}
			if string(x.Bytes()) != once {
				t.Fatalf("%s: not stable", c.Name())
			}
		}
	})
}
