package allreduce_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/ringrun/ringrun/allreduce"
	"github.com/ringrun/ringrun/allreduce/codec"
	"github.com/ringrun/ringrun/ring"
	"github.com/ringrun/ringrun/ring/ringtest"
)

// TestZstdIsExact holds the bits to be those of the oracle, which knows no
// codec, for all types and operations.
func TestZstdIsExact(t *testing.T) {
	noLeaks(t)
	r := rand.New(rand.NewPCG(6, 6))
	for _, n := range []int{1, 2, 3, 5} {
		g := open(t, n, ringtest.Options{FrameBytes: 2000, Lanes: 2}, allreduce.Config{Codec: new(codec.Zstd)})
		for _, job := range jobs {
			for i, length := range []int{0, 1, n + 1, 997, 30001} {
				j := job(r, ops[i], n, length)
				g.must(func(ctx context.Context, c *allreduce.Comm) error {
					if err := c.AllReduce(ctx, j.vectors[c.Rank()], j.op); err != nil {
						return err
					}
					return j.check(c.Rank())
				})
			}
		}
	}
}

// TestHalfOnTheRing holds all ranks to equal bits, and the result to be near
// the exact one: each of the peers that a sum passes rounds it once.
func TestHalfOnTheRing(t *testing.T) {
	for _, n := range []int{2, 3, 4, 8} {
		for _, length := range []int{0, 1, n + 1, 997, 100003} {
			g := open(t, n, ringtest.Options{FrameBytes: 5000, Lanes: 2}, allreduce.Config{Codec: codec.Half{}})
			for _, op := range []allreduce.Op{allreduce.Sum, allreduce.Mean, allreduce.Max} {
				checkHalf(g, op, length)
			}
			g.close()
		}
	}
}

func checkHalf(g *group, op allreduce.Op, length int) {
	g.Helper()
	n := len(g.comms)
	x, d := make([][]float32, n), make([][]float64, n)
	for rank := range n {
		x[rank] = random(length, rank)
		d[rank] = make([]float64, length)
		for i, v := range x[rank] {
			d[rank][i] = float64(v)
		}
	}
	want := reduced(d, op)
	scale := make([]float64, length) // of the partial results
	for i := range scale {
		for rank := range n {
			scale[i] += math.Abs(d[rank][i])
		}
		if op == allreduce.Mean {
			scale[i] /= float64(n)
		}
	}
	g.must(func(ctx context.Context, c *allreduce.Comm) error {
		if err := c.AllReduce(ctx, allreduce.Of(x[c.Rank()]), op); err != nil {
			return err
		}
		return c.AllReduce(ctx, allreduce.Of(d[c.Rank()]), op)
	})
	what := fmt.Sprintf("%v of %d over %d", op, length, n)
	sameBits(g, x, what+" float32")
	sameBits(g, d, what+" float64")
	for i := range want {
		most := float64(n)*(scale[i]*0x1p-11+0x1p-25) + 1e-6*scale[i]
		if math.Abs(float64(x[0][i])-want[i]) > most || math.Abs(d[0][i]-want[i]) > most {
			g.Fatalf("%s: element %d is %v and %v, want %v ± %v", what, i, x[0][i], d[0][i], want[i], most)
		}
	}
}

// TestHalfMeanOfLarge has a mean that fits a half, of a sum that does not.
func TestHalfMeanOfLarge(t *testing.T) {
	g := open(t, 4, ringtest.Options{}, allreduce.Config{Codec: codec.Half{}})
	g.must(func(ctx context.Context, c *allreduce.Comm) error {
		x := []float32{60000, -60000, 1, 2, 3}
		if err := c.AllReduce(ctx, allreduce.Of(x), allreduce.Mean); err != nil {
			return err
		}
		if x[0] != 60000 || x[1] != -60000 || x[4] != 3 {
			return fmt.Errorf("the mean is %v", x)
		}
		return nil
	})
}

// TestHalfSavesBytes counts: half of the payload and four bytes for each frame,
// all of it for integers.
func TestHalfSavesBytes(t *testing.T) {
	const n, length = 2, 1 << 16
	g := open(t, n, ringtest.Options{}, allreduce.Config{Codec: codec.Half{}})
	g.must(func(ctx context.Context, c *allreduce.Comm) error {
		if err := c.AllReduce(ctx, allreduce.Of(make([]float32, length)), allreduce.Sum); err != nil {
			return err
		}
		s := c.Stats()
		if want := 2*length + 4*s.Frames; s.SentBodies != want {
			return fmt.Errorf("%d bytes sent, want %d", s.SentBodies, want)
		}
		if err := c.AllReduce(ctx, allreduce.Of(make([]int32, length)), allreduce.Sum); err != nil {
			return err
		}
		if got := c.Stats().SentBodies - s.SentBodies; got != 4*length {
			return fmt.Errorf("%d bytes sent for integers, want %d", got, 4*length)
		}
		return nil
	})
}

// liar is a codec whose bytes are not what it can read.
type liar struct{ codec.Half }

func (liar) Decode(x allreduce.Vector, b []byte) error {
	if len(b) > 10 {
		return fmt.Errorf("these %d bytes are not mine", len(b))
	}
	return nil
}

// TestUndecodable breaks the ring with the decoder's reason.
func TestUndecodable(t *testing.T) {
	g := openEach(t, 3, ringtest.Options{}, func(rank int) allreduce.Config {
		if rank == 1 {
			return allreduce.Config{Codec: liar{}}
		}
		return allreduce.Config{Codec: codec.Half{}}
	})
	for rank, err := range g.each(reduce[float32](allreduce.Sum, 1000)) {
		if !errors.Is(err, ring.ErrBroken) || !strings.Contains(err.Error(), "bytes are not mine") {
			t.Errorf("rank %d: %v", rank, err)
		}
	}
}
