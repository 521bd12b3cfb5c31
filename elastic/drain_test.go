package elastic

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ringrun/ringrun/allreduce"
)

// Some of four peers are asked to leave in the middle of a step. They finish it
// and leave, the others go on, and nobody reduces anything twice.
func TestDrain(t *testing.T) {
	for _, leavers := range [][]int{{0}, {3}, {1, 2}, {0, 2, 3}} {
		t.Run(fmt.Sprint(leavers), func(t *testing.T) {
			const when = 7
			c := newCluster(t, someSamples)
			c.at = func(p *peer, s Shard) error {
				if s.Step < when {
					time.Sleep(noteTime) // a pace at which notes follow each step
				}
				if s.Step == when {
					if slices.Contains(leavers, slices.Index(c.peers, p)) {
						p.g.Drain()
					}
					p.awaitChange(c.ctx, p.g.Epoch()+1)
				}
				return nil
			}
			for range 4 {
				c.start(4)
			}
			c.wait()
			var gone []*peer
			for i, p := range c.peers {
				if p.retries > 0 {
					t.Errorf("%s reduced %d steps twice, want none", p.id, p.retries)
				}
				if !slices.Contains(leavers, i) {
					continue
				}
				gone = append(gone, p)
				if !p.drained || p.err != nil {
					t.Errorf("%s: drained %v, error %v", p.id, p.drained, p.err)
				}
				if len(leavers) == 1 && p.steps != when+1 {
					t.Errorf("%s leaves after %d steps, want %d: when the step ends in which it was asked", p.id, p.steps, when+1)
				}
			}
			c.check(gone...)
		})
	}
}

// When all are asked to leave they leave together, after the same step. So does
// one that is alone.
func TestDrainAll(t *testing.T) {
	for _, n := range []int{1, 3} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			c := newCluster(t, someSamples)
			c.at = func(p *peer, s Shard) error {
				if s.Step == 5 {
					p.g.Drain()
				}
				return nil
			}
			for range n {
				c.start(n)
			}
			c.wait()
			for _, p := range c.peers {
				if !p.drained || p.err != nil || p.retries > 0 || p.steps != c.peers[0].steps || p.steps > 6+maxGap {
					t.Errorf("%s: drained %v after %d steps, %d twice, error %v; %s after %d", p.id, p.drained, p.steps, p.retries, p.err, c.peers[0].id, c.peers[0].steps)
				}
			}
		})
	}
}

// One peer is killed while another was asked to leave: in that very step, before
// the others know.
func TestDrainDuringRecovery(t *testing.T) {
	for _, leaver := range []int{0, 2} {
		t.Run(fmt.Sprint(leaver), func(t *testing.T) {
			c := newCluster(t, someSamples)
			asked := make(chan struct{})
			var once sync.Once
			c.at = func(p *peer, s Shard) error {
				if s.Step != 7 {
					return nil
				}
				switch p {
				case c.peers[leaver]:
					p.g.Drain()
					once.Do(func() { close(asked) })
				case c.peers[1]:
					<-asked
					p.kill()
					return errKilled
				}
				return nil
			}
			for range 4 {
				c.start(4)
			}
			c.wait()
			if p := c.peers[leaver]; !p.drained || p.err != nil {
				t.Errorf("%s: drained %v, error %v", p.id, p.drained, p.err)
			}
			c.check(c.peers[leaver], c.peers[1])
		})
	}
}

// A newcomer takes part from the end of a step on: nobody reduces one twice.
func TestJoinRetriesNothing(t *testing.T) {
	c := newCluster(t, someSamples)
	var once sync.Once
	c.at = func(p *peer, s Shard) error {
		if s.Step == 9 && p.id != "p3-0" {
			once.Do(func() { c.start(3) })
			p.awaitChange(c.ctx, p.g.Epoch()+1)
		}
		return nil
	}
	for range 3 {
		c.start(3)
	}
	c.wait()
	c.check()
	for _, p := range c.peers {
		if p.retries > 0 {
			t.Errorf("%s reduced %d steps twice, want none", p.id, p.retries)
		}
	}
}

// A drain that takes too long ends with an error; a loop without Shards gets one
// that Run does not return.
func TestDrainGraceAndSentinel(t *testing.T) {
	c := newCluster(t, Samples{Count: 1, Batch: 1})
	c.loop = func(ctx context.Context, g *Group, p *peer) error {
		x := make([]float64, 1)
		for {
			_, err := g.Commit(ctx, func(comm *allreduce.Comm, w Weights) error {
				return comm.AllReduce(ctx, allreduce.Of(x), allreduce.Sum)
			}, func() error { return nil })
			if err != nil {
				p.drained = g.Drained()
				return err
			}
			if g.Steps() == 5 {
				g.Drain()
			}
		}
	}
	p := c.start(1)
	if <-p.done; p.err != nil || !p.drained {
		t.Errorf("drained %v, error %v", p.drained, p.err)
	}

	c = newCluster(t, someSamples)
	c.grace = 50 * time.Millisecond
	c.at = func(p *peer, s Shard) error {
		if s.Step == 5 && p == c.peers[1] {
			p.g.Drain()
		}
		if s.Step == 5 && p == c.peers[0] {
			<-c.peers[1].done // a step that does not end
		}
		return nil
	}
	c.start(2)
	c.start(2)
	<-c.peers[1].done
	if err := c.peers[1].err; !errors.Is(err, ErrGrace) || !strings.Contains(err.Error(), "50ms") {
		t.Errorf("%v, want %v after 50ms", err, ErrGrace)
	}
	c.check(c.peers[1])
}
