package allreduce_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/ringrun/ringrun/allreduce"
	"github.com/ringrun/ringrun/allreduce/codec"
	"github.com/ringrun/ringrun/ring"
	"github.com/ringrun/ringrun/ring/tcp"
)

// TestOverTCP does over sockets what the other tests do in memory: equal bits,
// and an end for everybody when one closes in the middle.
func TestOverTCP(t *testing.T) {
	noLeaks(t)
	r := rand.New(rand.NewPCG(7, 7))
	for _, c := range []allreduce.Codec{nil, new(codec.Zstd)} {
		for _, lanes := range []int{1, 3} {
			g := openTCP(t, 3, tcp.Config{Lanes: lanes, FrameBytes: 30000}, allreduce.Config{Codec: c})
			for i, length := range []int{0, 1, 1000, 300001} {
				j := jobs[i%len(jobs)](r, ops[i], 3, length)
				g.must(func(ctx context.Context, c *allreduce.Comm) error {
					if err := c.AllReduce(ctx, j.vectors[c.Rank()], j.op); err != nil {
						return err
					}
					return j.check(c.Rank())
				})
			}
			closing(g)
			g.close()
		}
	}
}

// closing lets rank 1 close while the others reduce for ever.
func closing(g *group) {
	g.Helper()
	errs := g.each(func(ctx context.Context, c *allreduce.Comm) error {
		x := make([]float32, 100000)
		for i := 0; ; i++ {
			if c.Rank() == 1 && i == 10 {
				go c.Close()
			}
			if err := c.AllReduce(ctx, allreduce.Of(x), allreduce.Sum); err != nil {
				return err
			}
		}
	})
	for rank, err := range errs {
		if !errors.Is(err, ring.ErrBroken) {
			g.Errorf("rank %d: %v", rank, err)
		}
	}
}

// TestChordsOverTCP runs every algorithm, and a group, over sockets.
func TestChordsOverTCP(t *testing.T) {
	noLeaks(t)
	r := rand.New(rand.NewPCG(7, 8))
	g := openTCP(t, 5, tcp.Config{}, allreduce.Config{}) // which has chords
	for _, a := range g.comms[0].Algorithms() {
		for _, length := range []int{0, 1, 1000, 100001} {
			j := jobs[0](r, allreduce.Sum, 5, length)
			g.must(func(ctx context.Context, c *allreduce.Comm) error {
				if err := c.AllReduceBy(ctx, a, j.vectors[c.Rank()], j.op); err != nil {
					return err
				}
				return j.check(c.Rank())
			})
		}
	}
	g.must(func(ctx context.Context, c *allreduce.Comm) error {
		sub, err := c.Split(ctx, c.Rank()%2, 0)
		if err != nil {
			return err
		}
		if err := reduce[float32](allreduce.Sum, 1000)(ctx, sub); err != nil {
			return err
		}
		return sub.Close()
	})
	closing(g)
}
