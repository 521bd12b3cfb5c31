package allreduce_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringrun/ringrun/allreduce"
	"github.com/ringrun/ringrun/allreduce/codec"
	"github.com/ringrun/ringrun/ring/ringtest"
)

type call func(ctx context.Context, c *allreduce.Comm) error

func reduce[T allreduce.Number](op allreduce.Op, length int) call {
	return func(ctx context.Context, c *allreduce.Comm) error {
		return c.AllReduce(ctx, allreduce.Of(make([]T, length)), op)
	}
}

func broadcastFrom(root, length int) call {
	return func(ctx context.Context, c *allreduce.Comm) error {
		return c.Broadcast(ctx, allreduce.Of(make([]float32, length)), root)
	}
}

func gatherBytes(length int) call {
	return func(ctx context.Context, c *allreduce.Comm) error {
		_, err := c.Gather(ctx, make([]byte, length))
		return err
	}
}

func reduceTo(root, length int) call {
	return func(ctx context.Context, c *allreduce.Comm) error {
		return c.Reduce(ctx, allreduce.Of(make([]float32, length)), allreduce.Sum, root)
	}
}

func scatterFrom(root int) call {
	return func(ctx context.Context, c *allreduce.Comm) error {
		return c.Scatter(ctx, allreduce.Of(make([]float32, 100)), nil, root)
	}
}

func gatherInto(root int) call {
	return func(ctx context.Context, c *allreduce.Comm) error {
		return c.GatherTo(ctx, allreduce.Of(make([]float32, 100)), nil, root)
	}
}

func allGather(parts func(n int) []int) call {
	return func(ctx context.Context, c *allreduce.Comm) error {
		var p []int
		if parts != nil {
			p = parts(c.Size())
		}
		return c.AllGather(ctx, allreduce.Of(make([]float32, 100)), p)
	}
}

func reduceScatter(op allreduce.Op) call {
	return func(ctx context.Context, c *allreduce.Comm) error {
		return c.ReduceScatter(ctx, allreduce.Of(make([]float32, 100)), op, nil)
	}
}

func allToAll[T allreduce.Element](length int) call {
	return func(ctx context.Context, c *allreduce.Comm) error {
		var dst, src []allreduce.Vector
		for range c.Size() {
			dst, src = append(dst, allreduce.Of(make([]T, length))), append(src, allreduce.Of(make([]T, length)))
		}
		return c.AllToAll(ctx, dst, src)
	}
}

func fused(lengths ...int) call {
	return func(ctx context.Context, c *allreduce.Comm) error {
		var xs []allreduce.Vector
		for _, n := range lengths {
			xs = append(xs, allreduce.Of(make([]float32, n)))
		}
		return c.AllReduceAll(ctx, xs, allreduce.Sum)
	}
}

func scaled(before, after float64) call {
	return func(ctx context.Context, c *allreduce.Comm) error {
		by := allreduce.Scale{Before: before + float64(c.Rank()), After: after}
		return c.AllReduceScaled(ctx, allreduce.Of(make([]float32, 10)), allreduce.Sum, by)
	}
}

func both(a, b call) call {
	return func(ctx context.Context, c *allreduce.Comm) error {
		if err := a(ctx, c); err != nil {
			return err
		}
		return b(ctx, c)
	}
}

// disagreements are what one rank calls while the others call something else, and
// what both are called.
var disagreements = []struct {
	name        string
	most, other call
	says        [2]string
}{
	{"length", reduce[float32](allreduce.Sum, 1000), reduce[float32](allreduce.Sum, 1001),
		[2]string{"the sum of 1000 float32 (raw)", "the sum of 1001 float32 (raw)"}},
	{"nothing", reduce[float32](allreduce.Sum, 1000), reduce[float32](allreduce.Sum, 0),
		[2]string{"the sum of 1000 float32", "the sum of 0 float32"}},
	{"long", reduce[float32](allreduce.Sum, 1), reduce[float32](allreduce.Sum, 300000),
		[2]string{"the sum of 1 float32", "the sum of 300000 float32"}},
	{"type", reduce[float32](allreduce.Max, 64), reduce[int32](allreduce.Max, 64),
		[2]string{"the max of 64 float32", "the max of 64 int32"}},
	{"op", reduce[int64](allreduce.Sum, 64), reduce[int64](allreduce.Mean, 64),
		[2]string{"the sum of 64 int64", "the mean of 64 int64"}},
	{"order", both(reduce[float32](allreduce.Sum, 10), reduce[float32](allreduce.Sum, 20)),
		both(reduce[float32](allreduce.Sum, 20), reduce[float32](allreduce.Sum, 10)),
		[2]string{"the sum of 10 float32", "the sum of 20 float32"}},
	{"kind", reduce[float32](allreduce.Sum, 10), gatherBytes(10),
		[2]string{"the sum of 10 float32", "a gather"}},
	{"gather and barrier", gatherBytes(0), func(ctx context.Context, c *allreduce.Comm) error { return c.Barrier(ctx) },
		[2]string{"a gather", "a barrier"}},
	{"root", broadcastFrom(0, 5), broadcastFrom(1, 5),
		[2]string{"a broadcast of 5 float32 from rank 0", "a broadcast of 5 float32 from rank 1"}},
	{"broadcast's length", broadcastFrom(1, 50000), broadcastFrom(1, 50001),
		[2]string{"a broadcast of 50000 float32 from rank 1", "a broadcast of 50001 float32 from rank 1"}},
	{"broadcast and reduce", broadcastFrom(0, 5), reduce[float32](allreduce.Sum, 5),
		[2]string{"a broadcast of 5 float32 from rank 0", "the sum of 5 float32"}},
	{"reduce's root", reduceTo(0, 5), reduceTo(1, 5),
		[2]string{"a reduce, the sum of 5 float32 (raw) to rank 0", "a reduce, the sum of 5 float32 (raw) to rank 1"}},
	{"scatter and gather", scatterFrom(1), gatherInto(1),
		[2]string{"a scatter of 100 float32 from rank 1", "a gather of 100 float32 to rank 1"}},
	{"parts", allGather(nil), allGather(func(n int) []int { return append(make([]int, n-1), 100) }),
		[2]string{"an all-gather of 100 float32 (raw)", "an all-gather of 100 float32 in form "}},
	{"halves", allGather(nil), reduceScatter(allreduce.Min),
		[2]string{"an all-gather of 100 float32 (raw)", "a reduce-scatter, the min of 100 float32 (raw)"}},
	{"op of half", reduceScatter(allreduce.Max), reduceScatter(allreduce.Min),
		[2]string{"a reduce-scatter, the max of 100 float32 (raw)", "a reduce-scatter, the min of 100 float32 (raw)"}},
	{"types of all-to-all", allToAll[float32](3), allToAll[int8](3),
		[2]string{"an all-to-all of float32", "an all-to-all of int8"}},
	{"fused", fused(3, 4), fused(4, 3),
		[2]string{"the sum of 7 float32 in form ", "the sum of 7 float32 in form "}},
	{"factors", scaled(2, 2), scaled(2, 3),
		[2]string{"the sum of 10 float32 in form ", "the sum of 10 float32 in form "}},
}

// TestMismatch has one rank call something else than the others. All must get
// the same error, and it must say what both sides wanted.
func TestMismatch(t *testing.T) {
	for _, tt := range disagreements {
		for _, n := range []int{2, 3, 5} {
			for odd := range n {
				t.Run(fmt.Sprintf("%s/size=%d/odd=%d", tt.name, n, odd), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						opts := ringtest.Options{Lanes: 2, FrameBytes: 16 << 10, Delay: time.Millisecond}
						g := open(t, n, opts, allreduce.Config{})
						disagree(g, odd, tt.most, tt.other, tt.says)
					})
				})
			}
		}
	}
}

func disagree(g *group, odd int, most, other call, says [2]string) {
	g.Helper()
	begin := time.Now()
	errs := g.each(func(ctx context.Context, c *allreduce.Comm) error {
		f := most
		if c.Rank() == odd {
			f = other
		}
		if err := f(ctx, c); err != nil {
			return err
		}
		return c.Barrier(ctx) // a broadcast may have ended well on some ranks
	})
	if d := time.Since(begin); d > 500*time.Millisecond {
		g.Errorf("it took %v", d)
	}
	n := len(g.comms)
	for rank, err := range errs {
		if !errors.Is(err, allreduce.ErrMismatch) {
			g.Fatalf("rank %d: %v", rank, err)
		}
		if err.Error() != errs[0].Error() {
			g.Errorf("rank %d says %q, rank 0 %q", rank, err, errs[0])
		}
	}
	text := errs[0].Error()
	named := func(rank int, what string) bool {
		return strings.Contains(text, fmt.Sprintf("p%d wants %s", (rank+n)%n, what))
	}
	if !named(odd, says[1]) || !named(odd-1, says[0]) && !named(odd+1, says[0]) {
		g.Errorf("the error is %q; p%d wants %s, the others %s", text, odd, says[1], says[0])
	}
}

// TestMismatchOfCodec has one rank use another codec. Integers go raw whatever
// the codec, so there the ranks do agree.
func TestMismatchOfCodec(t *testing.T) {
	for odd := range 3 {
		synctest.Test(t, func(t *testing.T) {
			g := openEach(t, 3, ringtest.Options{}, func(rank int) allreduce.Config {
				if rank == odd {
					return allreduce.Config{Codec: codec.Half{}}
				}
				return allreduce.Config{}
			})
			g.must(reduce[int32](allreduce.Sum, 100))
			f := reduce[float32](allreduce.Sum, 100)
			disagree(g, odd, f, f, [2]string{"the sum of 100 float32 (raw)", "the sum of 100 float32 (half)"})
		})
	}
}

// TestMismatchLate has the odd rank come late: the others have waited, and
// what they sent was kept for it.
func TestMismatchLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := open(t, 4, ringtest.Options{}, allreduce.Config{InFlightBytes: 1000})
		errs := g.each(func(ctx context.Context, c *allreduce.Comm) error {
			if c.Rank() == 2 {
				time.Sleep(30 * time.Second)
				return c.AllReduce(ctx, allreduce.Of(make([]float32, 5)), allreduce.Sum)
			}
			return c.AllReduce(ctx, allreduce.Of(make([]float32, 50000)), allreduce.Sum)
		})
		for rank, err := range errs {
			if !errors.Is(err, allreduce.ErrMismatch) || err.Error() != errs[0].Error() {
				t.Errorf("rank %d: %v", rank, err)
			}
		}
	})
}

// TestMismatchOfBlock has two peers disagree about one block of an all-to-all.
func TestMismatchOfBlock(t *testing.T) {
	for _, n := range []int{2, 3, 5} {
		for away := 1; away < n; away++ {
			from, to := 1, (1+away)%n
			g := open(t, n, ringtest.Options{}, allreduce.Config{})
			errs := g.each(func(ctx context.Context, c *allreduce.Comm) error {
				var dst, src []allreduce.Vector
				for peer := range n {
					length := 6
					if c.Rank() == to && peer == from {
						length = 7
					}
					dst, src = append(dst, allreduce.Of(make([]int16, length))), append(src, allreduce.Of(make([]int16, 6)))
				}
				if err := c.AllToAll(ctx, dst, src); err != nil {
					return err
				}
				return c.Barrier(ctx)
			})
			want := fmt.Sprintf("collective 0 of epoch 7: in an all-to-all p%d sends 6 int16 to p%d, which wants 7", from, to)
			for rank, err := range errs {
				if !errors.Is(err, allreduce.ErrMismatch) || !strings.Contains(err.Error(), want) {
					t.Errorf("size %d: rank %d: %v, want %q", n, rank, err, want)
				}
			}
			g.close()
		}
	}
}
