package allreduce_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ringrun/ringrun/allreduce"
	"github.com/ringrun/ringrun/allreduce/codec"
	"github.com/ringrun/ringrun/ring"
	"github.com/ringrun/ringrun/ring/ringtest"
)

// A task is one collective, other than an all-reduce, on all ranks of a ring of
// n: it draws the input and returns what each rank does, and checks.
type task func(r *rand.Rand, n, length int) func(ctx context.Context, c *allreduce.Comm) error

var tasks = map[string]task{
	"broadcast":      broadcastTask,
	"reduce to":      reduceTask,
	"scatter":        scatterTask,
	"gather to":      gatherToTask,
	"all-gather":     allGatherTask,
	"reduce-scatter": reduceScatterTask,
	"all-to-all":     allToAllTask,
	"fused":          fusedTask,
	"scaled":         scaledTask,
	"weighted mean":  weightedTask,
	"message":        messageTask,
}

// draw returns one vector of small integers for each rank: sums are exact.
func draw(r *rand.Rand, n, length int) [][]float64 {
	x := make([][]float64, n)
	for rank := range x {
		x[rank] = make([]float64, length)
		for i := range x[rank] {
			x[rank][i] = float64(r.IntN(2001) - 1000)
		}
	}
	return x
}

// cuts returns the lengths of n parts of length elements, some of them empty,
// and sometimes nil; and the bounds that they mean.
func cuts(r *rand.Rand, n, length int) (parts, bounds []int) {
	if r.IntN(3) == 0 {
		for rank := range n {
			lo, _ := ring.Chunk(length, n, rank)
			bounds = append(bounds, lo)
		}
		return nil, append(bounds, length)
	}
	for range n - 1 {
		bounds = append(bounds, r.IntN(length+1))
	}
	bounds = append(bounds, 0, length)
	slices.Sort(bounds)
	for rank := range n {
		parts = append(parts, bounds[rank+1]-bounds[rank])
	}
	return parts, bounds
}

func same(what string, got, want []float64) error {
	for i := range want {
		if got[i] != want[i] {
			return fmt.Errorf("%s: element %d of %d is %v, want %v", what, i, len(want), got[i], want[i])
		}
	}
	return nil
}

func broadcastTask(r *rand.Rand, n, length int) func(ctx context.Context, c *allreduce.Comm) error {
	root, x := r.IntN(n), draw(r, n, length)
	want := slices.Clone(x[root])
	return func(ctx context.Context, c *allreduce.Comm) error {
		if err := c.Broadcast(ctx, allreduce.Of(x[c.Rank()]), root); err != nil {
			return err
		}
		return same(fmt.Sprintf("broadcast from %d", root), x[c.Rank()], want)
	}
}

func reduceTask(r *rand.Rand, n, length int) func(ctx context.Context, c *allreduce.Comm) error {
	root, x := r.IntN(n), draw(r, n, length)
	op := ops[r.IntN(len(ops)-1)] // products would be rounded
	want := make([]float64, length)
	for i := range want {
		want[i] = chain(x, op, root, i)
	}
	return func(ctx context.Context, c *allreduce.Comm) error {
		err := c.Reduce(ctx, allreduce.Of(x[c.Rank()]), op, root)
		if err != nil || c.Rank() != root {
			return err
		}
		return same(fmt.Sprintf("reduce, %v, to %d", op, root), x[root], want)
	}
}

func scatterTask(r *rand.Rand, n, length int) func(ctx context.Context, c *allreduce.Comm) error {
	root, x := r.IntN(n), draw(r, n, length)
	parts, bounds := cuts(r, n, length)
	want := slices.Clone(x[root])
	return func(ctx context.Context, c *allreduce.Comm) error {
		if err := c.Scatter(ctx, allreduce.Of(x[c.Rank()]), parts, root); err != nil {
			return err
		}
		lo, hi := bounds[c.Rank()], bounds[c.Rank()+1]
		if c.Rank() == root {
			lo, hi = 0, length
		}
		return same(fmt.Sprintf("scatter from %d by %v", root, parts), x[c.Rank()][lo:hi], want[lo:hi])
	}
}

func gatherToTask(r *rand.Rand, n, length int) func(ctx context.Context, c *allreduce.Comm) error {
	root, x := r.IntN(n), draw(r, n, length)
	parts, bounds := cuts(r, n, length)
	want := gathered(x, bounds)
	return func(ctx context.Context, c *allreduce.Comm) error {
		mine := x[c.Rank()]
		if err := c.GatherTo(ctx, allreduce.Of(mine), parts, root); err != nil {
			return err
		}
		lo, hi := bounds[c.Rank()], bounds[c.Rank()+1]
		if c.Rank() == root {
			lo, hi = 0, length
		}
		return same(fmt.Sprintf("gather to %d by %v", root, parts), mine[lo:hi], want[lo:hi])
	}
}

func gathered(x [][]float64, bounds []int) []float64 {
	var all []float64
	for rank := range x {
		all = append(all, x[rank][bounds[rank]:bounds[rank+1]]...)
	}
	return all
}

func allGatherTask(r *rand.Rand, n, length int) func(ctx context.Context, c *allreduce.Comm) error {
	x := draw(r, n, length)
	parts, bounds := cuts(r, n, length)
	want := gathered(x, bounds)
	return func(ctx context.Context, c *allreduce.Comm) error {
		if err := c.AllGather(ctx, allreduce.Of(x[c.Rank()]), parts); err != nil {
			return err
		}
		return same(fmt.Sprintf("all-gather by %v", parts), x[c.Rank()], want)
	}
}

func reduceScatterTask(r *rand.Rand, n, length int) func(ctx context.Context, c *allreduce.Comm) error {
	x := draw(r, n, length)
	parts, bounds := cuts(r, n, length)
	op := ops[r.IntN(len(ops)-1)]
	want := make([]float64, length)
	for rank := range n {
		for i := bounds[rank]; i < bounds[rank+1]; i++ {
			want[i] = chain(x, op, rank, i)
		}
	}
	return func(ctx context.Context, c *allreduce.Comm) error {
		if err := c.ReduceScatter(ctx, allreduce.Of(x[c.Rank()]), op, parts); err != nil {
			return err
		}
		lo, hi := bounds[c.Rank()], bounds[c.Rank()+1]
		return same(fmt.Sprintf("reduce-scatter, %v, by %v", op, parts), x[c.Rank()][lo:hi], want[lo:hi])
	}
}

func allToAllTask(r *rand.Rand, n, length int) func(ctx context.Context, c *allreduce.Comm) error {
	src := make([][][]float64, n)
	for rank := range src {
		for range n {
			src[rank] = append(src[rank], draw(r, 1, r.IntN(2*length/n+1))[0])
		}
	}
	return func(ctx context.Context, c *allreduce.Comm) error {
		var from, into []allreduce.Vector
		dst := make([][]float64, n)
		for peer := range n {
			dst[peer] = make([]float64, len(src[peer][c.Rank()]))
			from = append(from, allreduce.Of(src[c.Rank()][peer]))
			into = append(into, allreduce.Of(dst[peer]))
		}
		if err := c.AllToAll(ctx, into, from); err != nil {
			return err
		}
		for peer := range n {
			if err := same(fmt.Sprintf("all-to-all, from %d to %d", peer, c.Rank()), dst[peer], src[peer][c.Rank()]); err != nil {
				return err
			}
		}
		return nil
	}
}

func fusedTask(r *rand.Rand, n, length int) func(ctx context.Context, c *allreduce.Comm) error {
	var x [][][]float64 // by vector
	var want [][]float64
	for range r.IntN(20) {
		v := draw(r, n, r.IntN(length/8+1))
		x, want = append(x, v), append(want, reduced(v, allreduce.Sum))
	}
	return func(ctx context.Context, c *allreduce.Comm) error {
		var xs []allreduce.Vector
		for _, v := range x {
			xs = append(xs, allreduce.Of(v[c.Rank()]))
		}
		if err := c.AllReduceAll(ctx, xs, allreduce.Sum); err != nil {
			return err
		}
		for i, v := range x {
			if err := same(fmt.Sprintf("vector %d of %d", i, len(x)), v[c.Rank()], want[i]); err != nil {
				return err
			}
		}
		return nil
	}
}

func scaledTask(r *rand.Rand, n, length int) func(ctx context.Context, c *allreduce.Comm) error {
	x := draw(r, n, length)
	want := make([]float64, length)
	for rank := range n {
		for i, v := range x[rank] {
			want[i] += v * float64(int(1)<<rank) / 4 // exact
		}
	}
	return func(ctx context.Context, c *allreduce.Comm) error {
		by := allreduce.Scale{Before: float64(int(1) << c.Rank()), After: 0.25}
		if err := c.AllReduceScaled(ctx, allreduce.Of(x[c.Rank()]), allreduce.Sum, by); err != nil {
			return err
		}
		return same("scaled sum", x[c.Rank()], want)
	}
}

func weightedTask(r *rand.Rand, n, length int) func(ctx context.Context, c *allreduce.Comm) error {
	x := draw(r, n, length)
	weights, total := make([]float64, n), 0.0
	for rank := range weights {
		weights[rank] = float64(r.IntN(3))
		total += weights[rank]
	}
	weights[0]++
	total++
	want := make([]float64, length)
	for rank, w := range weights {
		for i, v := range x[rank] {
			want[i] += v * w / total
		}
	}
	return func(ctx context.Context, c *allreduce.Comm) error {
		mine := x[c.Rank()]
		if err := c.WeightedMean(ctx, allreduce.Of(mine), weights[c.Rank()]); err != nil {
			return err
		}
		for i := range mine {
			if math.Abs(mine[i]-want[i]) > 1e-9 {
				return fmt.Errorf("weighted mean: element %d is %v, want %v", i, mine[i], want[i])
			}
		}
		return nil
	}
}

func messageTask(r *rand.Rand, n, length int) func(ctx context.Context, c *allreduce.Comm) error {
	from, to := r.IntN(n), r.IntN(n)
	x := draw(r, 1, length)[0]
	return func(ctx context.Context, c *allreduce.Comm) error {
		switch {
		case from == to:
		case c.Rank() == from:
			return c.Send(ctx, allreduce.Of(x), to)
		case c.Rank() == to:
			y := make([]float64, length)
			if err := c.Recv(ctx, allreduce.Of(y), from); err != nil {
				return err
			}
			return same(fmt.Sprintf("message from %d to %d", from, to), y, x)
		}
		return nil
	}
}

// TestCollectives runs every collective on every size of ring, with the lengths
// that could matter, raw and with a codec that loses nothing.
func TestCollectives(t *testing.T) {
	noLeaks(t)
	r := rand.New(rand.NewPCG(8, 8))
	for n := 1; n <= 8; n++ {
		for _, cfg := range []allreduce.Config{{}, {Codec: new(codec.Zstd)}} {
			g := open(t, n, ringtest.Options{FrameBytes: 3000, Lanes: 1 + n%3}, cfg)
			for name, make := range tasks {
				for _, length := range []int{0, 1, n - 1, n + 1, 1001, 30001} {
					task := make(r, n, length)
					for rank, err := range g.each(task) {
						if err != nil {
							t.Fatalf("%s, size %d, length %d: rank %d: %v", name, n, length, rank, err)
						}
					}
				}
			}
			g.close()
		}
	}
}
