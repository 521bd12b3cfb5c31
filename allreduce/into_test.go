package allreduce_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ringrun/ringrun/allreduce"
	"github.com/ringrun/ringrun/ring/ringtest"
)

// intoTask reduces a vector into another: wherever they lie, the first stays as
// it is, and the second gets what a scaled all-reduce of a copy has.
func intoTask(r *rand.Rand, n, length int, place func(rank, which int, x allreduce.Vector) allreduce.Vector) func(context.Context, *allreduce.Comm) error {
	x := make([][]float32, n)
	for rank := range x {
		x[rank] = make([]float32, length)
		for i := range x[rank] {
			x[rank][i] = r.Float32() - 0.5
		}
	}
	return func(ctx context.Context, c *allreduce.Comm) error {
		mine := x[c.Rank()]
		want := slices.Clone(mine)
		if err := c.AllReduceScaled(ctx, allreduce.Of(want), allreduce.Sum, allreduce.Scale{Before: 1, After: 1 / 3.0}); err != nil {
			return err
		}
		from := place(c.Rank(), 0, allreduce.Of(slices.Clone(mine)))
		to := place(c.Rank(), 1, allreduce.Of(make([]float32, length)))
		if err := c.StartInto(to, from, allreduce.Sum, 1/3.0).Wait(ctx); err != nil {
			return err
		}
		if got := allreduce.Elements[float32](to); !slices.Equal(got, want) {
			return fmt.Errorf("%d elements: got %v…, want %v…", length, got[:min(4, length)], want[:min(4, length)])
		}
		if !slices.Equal(allreduce.Elements[float32](from), mine) {
			return fmt.Errorf("%d elements: what was reduced has changed", length)
		}
		if err := c.StartInto(from, from, allreduce.Sum, 1/3.0).Wait(ctx); err != nil {
			return err
		}
		if !slices.Equal(allreduce.Elements[float32](from), want) {
			return fmt.Errorf("%d elements: in place is another sum", length)
		}
		return nil
	}
}

var intoLengths = []int{0, 1, 20, 1000, 9001, 40003, 300007}

func TestStartInto(t *testing.T) {
	noLeaks(t)
	for _, n := range []int{1, 2, 3} {
		g := open(t, n, ringtest.Options{}, allreduce.Config{})
		for _, length := range intoLengths {
			g.must(intoTask(rand.New(rand.NewPCG(1, 2)), n, length, func(_, _ int, x allreduce.Vector) allreduce.Vector { return x }))
		}
		g.must(func(ctx context.Context, c *allreduce.Comm) error {
			if err := c.StartInto(allreduce.Of(make([]float32, 2)), allreduce.Of(make([]float64, 2)), allreduce.Sum, 1).Wait(ctx); err == nil {
				return fmt.Errorf("float64 is reduced into float32")
			}
			return nil
		})
		g.close()
	}
}
