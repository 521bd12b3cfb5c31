package elastic

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/ringrun/ringrun/allreduce"
)

// ahead is the loop of peers that start each step's all-reduce before Commit. It
// counts the steps in which Commit came with the communicator of the start.
func ahead(c *cluster, started func(p *peer, step uint64) error, early *[3]int) func(context.Context, *Group, *peer) error {
	return func(ctx context.Context, g *Group, p *peer) error {
		grad, sum := make([]float64, p.samples.Count), make([]float64, p.samples.Count)
		for shard, err := range g.Shards(ctx, p.samples) {
			if err != nil {
				return err
			}
			for _, s := range shard.Samples {
				grad[s]++
			}
			comm, weights, ok := g.Early()
			if !shard.Last {
				if ok {
					return fmt.Errorf("step %d may begin though more passes follow", shard.Step)
				}
				continue
			}
			var work *allreduce.Work
			if ok {
				copy(sum, grad)
				work = comm.Start(allreduce.Of(sum), allreduce.Sum)
			}
			if err := started(p, shard.Step); err != nil {
				return err
			}
			_, err := g.Commit(ctx, func(now *allreduce.Comm, w Weights) error {
				if work != nil && now == comm {
					early[p.index()]++
					if w != weights {
						return fmt.Errorf("weights were %v early, are %v", weights, w)
					}
					return work.Wait(ctx)
				}
				if work != nil {
					_ = work.Wait(ctx) // of a ring that is gone; until then sum belongs to it
				}
				copy(sum, grad)
				return now.AllReduce(ctx, allreduce.Of(sum), allreduce.Sum)
			}, func() error {
				for i, x := range sum {
					p.model.counts[i] += x
				}
				return nil
			})
			if err != nil {
				return err
			}
			clear(grad)
		}
		p.steps = g.Steps()
		return nil
	}
}

func (p *peer) index() int { return int(p.id[1] - '0') }

// Peers start their collectives early, and one dies between its start and its
// Commit; the others finish the step on the next ring. Every sample is in exactly
// one step.
func TestEarlyWorksOfABrokenRingDoNotCount(t *testing.T) {
	for victim := range 3 {
		t.Run(fmt.Sprint("victim=", victim), func(t *testing.T) {
			c := newCluster(t, someSamples)
			var early [3]int
			var all sync.WaitGroup
			all.Add(3)
			c.loop = ahead(c, func(p *peer, step uint64) error {
				if step != 9 || len(p.g.current().view.Peers) < 3 {
					return nil
				}
				all.Done()
				all.Wait() // all have started, none has reduced
				if p.index() == victim {
					p.kill()
					return errKilled
				}
				return nil
			}, &early)
			for range 3 {
				c.start(3)
			}
			c.check(c.peers[victim])
			for i, n := range early {
				if i != victim && (n < 40 || n > 48) {
					t.Errorf("peer %d used %d early starts of 48", i, n)
				}
			}
		})
	}
}

// Before peers have agreed on their state nothing can be started.
func TestNothingIsEarlyBeforeTheFirstStep(t *testing.T) {
	c := newCluster(t, someSamples)
	c.loop = func(ctx context.Context, g *Group, p *peer) error {
		if _, _, ok := g.Early(); ok {
			return fmt.Errorf("%s may begin before it knows the others", p.id)
		}
		if err := g.Sync(ctx); err != nil {
			return err
		}
		comm, w, ok := g.Early()
		if !ok || comm.Size() != 2 || w != (Weights{1, 2}) {
			return fmt.Errorf("after Sync: %v, %v", w, ok)
		}
		if p.model.marks != 0 {
			return fmt.Errorf("%s has marks %v, those of p0 are 0", p.id, p.model.marks)
		}
		counted, err := g.Commit(ctx, func(now *allreduce.Comm, w Weights) error { return now.Barrier(ctx) }, func() error { return nil })
		if err == nil && !counted {
			err = fmt.Errorf("the first step of %s does not count", p.id)
		}
		return err
	}
	c.start(2)
	c.start(2)
	c.wait()
	for _, p := range c.peers {
		if p.err != nil {
			t.Errorf("%s: %v", p.id, p.err)
		}
	}
}
