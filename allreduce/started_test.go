package allreduce_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/ringrun/ringrun/allreduce"
	"github.com/ringrun/ringrun/ring/ringtest"
)

// started begins the collectives that are mostly waited for at once, all before
// it waits for the first, and waits for the last one first.
func started(ctx context.Context, c *allreduce.Comm) error {
	n, me := c.Size(), c.Rank()
	root := n - 1
	of := func(x []float64) allreduce.Vector { return allreduce.Of(x) }
	fused := [][]float64{{1, 2}, {}, {3}}
	scaled := []float64{4, float64(n)}
	scattered, gathered := make([]float64, n+2), make([]float64, n+2)
	for i := range scattered {
		if me == root {
			scattered[i] = float64(i)
		}
		gathered[i] = float64(100*me + i)
	}
	parts := make([]int, n) // rank 0 has three elements, all others one
	for rank := range parts {
		parts[rank] = 1
	}
	parts[0] = 3
	var into, from []allreduce.Vector
	swapped := make([]float64, n)
	for rank := range n {
		into = append(into, of(swapped[rank:rank+1]))
		from = append(from, of([]float64{float64(100*me + rank)}))
	}
	works := []*allreduce.Work{
		c.StartAll([]allreduce.Vector{of(fused[0]), of(fused[1]), of(fused[2])}, allreduce.Sum),
		c.StartScaled(of(scaled), allreduce.Max, allreduce.Scale{Before: float64(1 + me), After: 0.5}),
		c.StartScatter(of(scattered), parts, root),
		c.StartGatherTo(of(gathered), parts, root),
		c.StartAllToAll(into, from),
	}
	for _, w := range slices.Backward(works) {
		if err := w.Wait(ctx); err != nil {
			return err
		}
	}
	at := 0 // where our part is
	if me > 0 {
		at = me + 2
	}
	errs := []error{
		same("fused", slices.Concat(fused...), []float64{float64(n), 2 * float64(n), 3 * float64(n)}),
		same("scaled", scaled, []float64{2 * float64(n), float64(n*n) / 2}),
		same("scatter", scattered[at:at+1], []float64{float64(at)}),
	}
	for rank := range n {
		errs = append(errs, same("all-to-all", swapped[rank:rank+1], []float64{float64(100*rank + me)}))
		if last := rank + 2; me == root {
			errs = append(errs, same(fmt.Sprint("gather from ", rank), gathered[last:last+1], []float64{float64(100*rank + last)}))
		}
	}
	return errors.Join(errs...)
}

// TestStarted: collectives that were started make the results of those that were
// called, on every kind of ring.
func TestStarted(t *testing.T) {
	noLeaks(t)
	for _, n := range []int{1, 2, 3, 5} {
		g := open(t, n, ringtest.Options{FrameBytes: 16}, allreduce.Config{})
		g.must(started)
		g.close()
		g = open(t, n, ringtest.Options{}, allreduce.Config{InFlightBytes: 1}) // one after the other
		g.must(started)
		g.close()
	}
}

// TestStartedSenseless: what makes no sense is a Work that has failed, and nobody
// else is disturbed.
func TestStartedSenseless(t *testing.T) {
	g := open(t, 2, ringtest.Options{}, allreduce.Config{})
	f, i := allreduce.Of(make([]float32, 4)), allreduce.Of(make([]int32, 4))
	g.must(func(ctx context.Context, c *allreduce.Comm) error {
		for _, tt := range []struct {
			work *allreduce.Work
			want error
		}{
			{c.StartAll([]allreduce.Vector{f, i}, allreduce.Sum), allreduce.ErrType},
			{c.StartScaled(i, allreduce.Sum, allreduce.Scale{Before: 1, After: 1}), allreduce.ErrType},
			{c.StartScatter(f, nil, 2), allreduce.ErrRank},
			{c.StartGatherTo(f, []int{1, 1}, 0), allreduce.ErrParts},
			{c.StartAllToAll([]allreduce.Vector{f}, []allreduce.Vector{f}), allreduce.ErrParts},
		} {
			if err := tt.work.Wait(ctx); !errors.Is(err, tt.want) {
				return fmt.Errorf("%v, want %v", err, tt.want)
			}
		}
		return c.Barrier(ctx)
	})
}
