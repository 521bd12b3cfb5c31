package allreduce_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringrun/ringrun/allreduce"
	"github.com/ringrun/ringrun/ring"
	"github.com/ringrun/ringrun/ring/ringtest"
)

// TestWays measures in virtual time: every link takes a delay, whatever it
// carries. All peers get the same, and the ring works on.
func TestWays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const delay = 5 * time.Millisecond
		g := open(t, 4, ringtest.Options{Delay: delay, Window: 64 << 20, FrameBytes: 4 << 20}, allreduce.Config{})
		all := make([][][]ring.Way, 4)
		g.must(func(ctx context.Context, c *allreduce.Comm) (err error) {
			all[c.Rank()], err = c.Ways(ctx, []int{0, 2, 3})
			return err
		})
		for rank, ways := range all {
			if len(ways) != 3 || !slices.EqualFunc(ways, all[0], slices.Equal) {
				t.Errorf("rank %d has %v, rank 0 %v", rank, ways, all[0])
			}
		}
		for i := range 3 {
			for j := range 3 {
				w := all[0][i][j]
				if i != j && (w.Latency != delay.Seconds() || w.Rate < 1e6) || i == j && w != (ring.Way{}) {
					t.Errorf("from %d to %d: %+v, want a latency of %v", i, j, w, delay)
				}
			}
		}
		g.must(reduce[float32](allreduce.Sum, 100))
	})
}

// TestWaysBroken: a peer dies while others measure.
func TestWaysBroken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := open(t, 4, ringtest.Options{Delay: time.Millisecond}, allreduce.Config{})
		time.AfterFunc(30*time.Millisecond, func() { g.net.Kill("p3") })
		for rank, err := range g.each(func(ctx context.Context, c *allreduce.Comm) error {
			for {
				if _, err := c.Ways(ctx, []int{0, 1, 2}); err != nil {
					return err
				}
			}
		}) {
			if !errors.Is(err, ring.ErrBroken) {
				t.Errorf("rank %d: %v", rank, err)
			}
		}
	})
	g := open(t, 2, ringtest.Options{}, allreduce.Config{})
	for rank, err := range g.each(func(ctx context.Context, c *allreduce.Comm) error {
		_, err := c.Ways(ctx, []int{0, 2})
		return err
	}) {
		if !errors.Is(err, allreduce.ErrRank) {
			t.Error(fmt.Sprint("rank ", rank, ": ", err))
		}
	}
}
