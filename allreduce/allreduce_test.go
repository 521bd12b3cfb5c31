package allreduce_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/ringrun/ringrun/allreduce"
	"github.com/ringrun/ringrun/ring"
	"github.com/ringrun/ringrun/ring/ringtest"
)

// TestAllReduce compares every size of ring and every length that could matter
// with a sum in float64, and the ranks with each other bit for bit.
func TestAllReduce(t *testing.T) {
	noLeaks(t)
	for _, n := range []int{1, 2, 3, 4, 5, 6, 7, 8, 16} {
		t.Run(fmt.Sprint("size=", n), func(t *testing.T) {
			g := open(t, n, ringtest.Options{FrameBytes: 4 << 10}, allreduce.Config{})
			for _, l := range lengths(n) {
				checkSum(g, l)
			}
			g = open(t, n, ringtest.Options{FrameBytes: 1 << 10}, allreduce.Config{SmallBytes: 4 << 10})
			for _, l := range []int{0, 1, n - 1, n, n + 1, 997, 1024, 1025} {
				checkSum(g, l)
			}
		})
	}
}

func lengths(n int) []int {
	l := []int{0, 1, n - 1, n, n + 1, 997, 100003}
	if !testing.Short() || n <= 3 {
		l = append(l, 1<<20)
	}
	return l
}

func checkSum(g *group, length int) {
	g.Helper()
	n := len(g.comms)
	x := make([][]float32, n)
	want := make([]float64, length)
	scale := make([]float64, length)
	for rank := range n {
		x[rank] = random(length, rank)
		for i, v := range x[rank] {
			want[i] += float64(v)
			scale[i] += math.Abs(float64(v))
		}
	}
	g.must(func(ctx context.Context, c *allreduce.Comm) error {
		return c.AllReduce(ctx, allreduce.Of(x[c.Rank()]), allreduce.Sum)
	})
	for i, v := range x[0] {
		if math.Abs(float64(v)-want[i]) > 1e-6*scale[i] {
			g.Fatalf("size %d, length %d: element %d is %v, want %v", n, length, i, v, want[i])
		}
	}
	sameBits(g, x, fmt.Sprintf("size %d, length %d", n, length))
}

// random returns numbers of both signs and several magnitudes, the same for the
// same arguments.
func random(length, rank int) []float32 {
	r := rand.New(rand.NewPCG(uint64(length), uint64(rank)))
	x := make([]float32, length)
	for i := range x {
		x[i] = float32(r.NormFloat64() * math.Exp(r.Float64()))
	}
	return x
}

func sameBits[T allreduce.Number](g *group, x [][]T, what string) {
	g.Helper()
	first := string(allreduce.Of(x[0]).Bytes())
	for rank := range x {
		if string(allreduce.Of(x[rank]).Bytes()) != first {
			g.Fatalf("%s: ranks 0 and %d differ", what, rank)
		}
	}
}

// TestTypesAndOps compares every type and operation with an oracle that works
// in the same order, bit for bit.
func TestTypesAndOps(t *testing.T) {
	noLeaks(t)
	for _, n := range []int{1, 2, 3, 5} {
		g := open(t, n, ringtest.Options{FrameBytes: 512}, allreduce.Config{})
		r := rand.New(rand.NewPCG(1, uint64(n)))
		for _, job := range jobs {
			for _, op := range append([]allreduce.Op{allreduce.And, allreduce.Or}, ops...) {
				if t := job(r, allreduce.Sum, n, 0).want.Type(); op > allreduce.Product && !integral(t) {
					continue
				}
				for _, length := range []int{0, 1, n, 1001, 20001} {
					j := job(r, op, n, length)
					g.must(func(ctx context.Context, c *allreduce.Comm) error {
						if err := c.AllReduce(ctx, j.vectors[c.Rank()], op); err != nil {
							return err
						}
						return j.check(c.Rank())
					})
				}
			}
		}
	}
}

// TestNaN holds Min and Max to pass on the NaN of any rank.
func TestNaN(t *testing.T) {
	const n = 3
	g := open(t, n, ringtest.Options{}, allreduce.Config{})
	for _, op := range []allreduce.Op{allreduce.Min, allreduce.Max} {
		for odd := range n {
			g.must(func(ctx context.Context, c *allreduce.Comm) error {
				x := []float32{1, 2, 3, 4}
				y := []float64{1, 2, 3, 4}
				if c.Rank() == odd {
					x[2], y[1] = float32(math.NaN()), math.NaN()
				}
				if err := c.AllReduce(ctx, allreduce.Of(x), op); err != nil {
					return err
				}
				if err := c.AllReduce(ctx, allreduce.Of(y), op); err != nil {
					return err
				}
				if x[2] == x[2] || y[1] == y[1] || x[1] != 2 || y[2] != 3 {
					return fmt.Errorf("%v with NaN on rank %d is %v and %v", op, odd, x, y)
				}
				return nil
			})
		}
	}
}

// TestPayload counts bytes: each rank sends every chunk but one twice, or passes
// on all small vectors but one, and nothing else but headers.
func TestPayload(t *testing.T) {
	for _, n := range []int{2, 3, 4, 7, 8, 16} {
		for _, length := range []int{0, 1, n - 1, n + 1, 100003, 1 << 18} {
			for _, small := range []int{0, 4 << 10} {
				g := open(t, n, ringtest.Options{}, allreduce.Config{SmallBytes: small})
				g.must(func(ctx context.Context, c *allreduce.Comm) error {
					return c.AllReduce(ctx, allreduce.Of(make([]float32, length)), allreduce.Sum)
				})
				for rank, c := range g.comms {
					checkPayload(t, c.Stats(), rank, n, length, small)
				}
				g.close()
			}
		}
	}
}

func checkPayload(t *testing.T, s allreduce.Stats, rank, n, length, small int) {
	t.Helper()
	if n == 2 && 4*length <= 32<<10 || n > 2 && small > 0 && 4*length <= small {
		want := uint64((n - 1) * 4 * length)
		if s.SentBodies != want || s.Frames != uint64(n-1) || s.Sent != want+s.Frames*ring.HeaderBytes {
			t.Errorf("size %d, length %d: rank %d sent %+v, want %d bytes in %d frames", n, length, rank, s, want, n-1)
		}
		return
	}
	var want uint64
	for step := range ring.Steps(n) {
		lo, hi := ring.Chunk(length, n, ring.SendChunk(rank, n, step))
		want += uint64(4 * (hi - lo))
	}
	if s.SentBodies != want {
		t.Errorf("size %d, length %d: rank %d sent %d bytes, want %d", n, length, rank, s.SentBodies, want)
	}
	ideal := 2 * float64(n-1) / float64(n) * float64(4*length)
	if off := math.Abs(float64(s.SentBodies) - ideal); off > float64(4*ring.Steps(n)) {
		t.Errorf("size %d, length %d: rank %d sent %d bytes, which is %v off 2(n-1)/n", n, length, rank, s.SentBodies, off)
	}
	headers := s.Sent - s.SentBodies
	if headers != s.Frames*ring.HeaderBytes || s.Frames < uint64(ring.Steps(n)) {
		t.Errorf("size %d, length %d: %d bytes of headers in %d frames", n, length, headers, s.Frames)
	}
	if length == 1<<18 && float64(headers) > 0.01*float64(s.SentBodies) {
		t.Errorf("size %d, 1 MiB: headers are %d of %d bytes, more than 1 %%", n, headers, s.Sent)
	}
	if s.ReceivedBodies == 0 && length > n {
		t.Errorf("size %d, length %d: nothing received", n, length)
	}
}

// TestLanesAndFrames holds the bits to be the same however they travel.
func TestLanesAndFrames(t *testing.T) {
	const n, length = 3, 200001
	r := rand.New(rand.NewPCG(2, 2))
	for _, lanes := range []int{1, 2, 3, 4} {
		for _, frame := range []int{1000, 4 << 10, 60000, 1 << 20} {
			g := open(t, n, ringtest.Options{Lanes: lanes, FrameBytes: frame, Window: 4 << 10}, allreduce.Config{})
			j := jobs[0](r, allreduce.Mean, n, length)
			g.must(func(ctx context.Context, c *allreduce.Comm) error {
				if err := c.AllReduce(ctx, j.vectors[c.Rank()], j.op); err != nil {
					return fmt.Errorf("lanes %d, frames of %d: %w", lanes, frame, err)
				}
				return j.check(c.Rank())
			})
			g.close()
		}
	}
}
