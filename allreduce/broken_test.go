package allreduce_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringrun/ringrun/allreduce"
	"github.com/ringrun/ringrun/ring"
	"github.com/ringrun/ringrun/ring/ringtest"
)

// breaking starts works on all ranks, breaks something in the middle of them,
// and returns how long after that the last rank knew.
func breaking(t *testing.T, n int, opts ringtest.Options, fault func(*group)) time.Duration {
	const length, count = 1 << 16, 5
	g := open(t, n, opts, allreduce.Config{})
	var at time.Time
	time.AfterFunc(20*time.Millisecond, func() { at = time.Now(); fault(g) })
	errs := g.each(func(ctx context.Context, c *allreduce.Comm) error {
		var works []*allreduce.Work
		x := make([][]float32, count)
		for i := range x {
			x[i] = make([]float32, length)
			works = append(works, c.Start(allreduce.Of(x[i]), allreduce.Sum))
		}
		var err error
		for i, w := range works {
			err = w.Wait(ctx)
			clear(x[i]) // the memory is ours again, whatever happened
		}
		if err == nil {
			return fmt.Errorf("rank %d has not noticed", c.Rank())
		}
		if again := c.AllReduce(ctx, allreduce.Of(x[0]), allreduce.Sum); !errors.Is(again, ring.ErrBroken) {
			return fmt.Errorf("rank %d went on: %v", c.Rank(), again)
		}
		<-c.Done()
		return errors.Join(err, c.Err())
	})
	for rank, err := range errs {
		if !errors.Is(err, ring.ErrBroken) {
			t.Errorf("rank %d: %v", rank, err)
		}
	}
	return time.Since(at)
}

// TestDeath cuts and kills in the middle of collectives.
func TestDeath(t *testing.T) {
	opts := ringtest.Options{FrameBytes: 1 << 10, Window: 2 << 10, Delay: time.Millisecond}
	for _, n := range []int{2, 3, 5} {
		for _, lanes := range []int{1, 3} {
			opts.Lanes = lanes
			for name, tt := range map[string]struct {
				fault func(*group)
				limit time.Duration
			}{
				"cut":   {func(g *group) { g.net.Cut("p0", "p1") }, 300 * time.Millisecond},
				"kill":  {func(g *group) { g.net.Kill("p1") }, 300 * time.Millisecond},
				"stall": {func(g *group) { g.net.Stall("p1") }, 2 * silence},
				"close": {func(g *group) { go g.comms[1].Close() }, 300 * time.Millisecond},
			} {
				t.Run(fmt.Sprintf("%s/size=%d/lanes=%d", name, n, lanes), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						if d := breaking(t, n, opts, tt.fault); d > tt.limit {
							t.Errorf("the last rank knew after %v, want %v at most", d, tt.limit)
						}
					})
				})
			}
		}
	}
}

// TestLeftBefore has a peer start something and leave before the next one
// comes to it. The third does nothing, so that it cannot be what breaks the ring.
func TestLeftBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := open(t, 3, ringtest.Options{}, allreduce.Config{})
		w := g.comms[1].Start(allreduce.Of(make([]float32, 1000)), allreduce.Sum)
		synctest.Wait()
		g.comms[1].Close()
		if err := w.Wait(t.Context()); !errors.Is(err, ring.ErrBroken) {
			t.Errorf("rank 1: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := g.comms[2].AllReduce(ctx, allreduce.Of(make([]float32, 1000)), allreduce.Sum)
		if !errors.Is(err, ring.ErrBroken) || !strings.Contains(err.Error(), "p1 has left") {
			t.Errorf("rank 2: %v", err)
		}
	})
}

// slow is a codec that takes a second to write to a vector.
type slow struct {
	allreduce.Codec
	writing *atomic.Bool
}

func (slow) ID() uint8 { return 200 }

func (s slow) Decode(x allreduce.Vector, b []byte) error {
	s.writing.Store(true)
	defer s.writing.Store(false)
	time.Sleep(time.Second)
	return s.Codec.Decode(x, b)
}

// TestMemoryAfterFailure breaks the ring while vectors are being written to. A
// work must not end before that does, because then its vector is the caller's.
func TestMemoryAfterFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		codecs := make([]slow, 3)
		g := openEach(t, 3, ringtest.Options{}, func(rank int) allreduce.Config {
			codecs[rank] = slow{allreduce.Raw, new(atomic.Bool)}
			return allreduce.Config{Codec: codecs[rank]}
		})
		time.AfterFunc(4500*time.Millisecond, func() {
			g.net.Cut("p1", "p2")
			if !codecs[0].writing.Load() {
				t.Error("nothing happens when the ring breaks")
			}
		})
		errs := g.each(func(ctx context.Context, c *allreduce.Comm) error {
			x := make([]float32, 100000)
			err := c.Start(allreduce.Of(x), allreduce.Sum).Wait(ctx)
			if codecs[c.Rank()].writing.Load() {
				t.Errorf("rank %d: the work has ended, the vector is still being written to", c.Rank())
			}
			clear(x)
			return err
		})
		for rank, err := range errs {
			if !errors.Is(err, ring.ErrBroken) {
				t.Errorf("rank %d: %v", rank, err)
			}
		}
	})
}

// TestCancel gives up on a rank that does not come. The ring breaks, and the
// others learn who gave up on what.
func TestCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := open(t, 3, ringtest.Options{Delay: time.Millisecond}, allreduce.Config{})
		errs := g.each(func(ctx context.Context, c *allreduce.Comm) error {
			x := allreduce.Of(make([]float32, 1000))
			switch c.Rank() {
			case 0:
				ctx, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
				defer cancel()
				return c.AllReduce(ctx, x, allreduce.Sum)
			case 2:
				time.Sleep(time.Second)
			}
			return c.AllReduce(ctx, x, allreduce.Sum)
		})
		if !errors.Is(errs[0], context.DeadlineExceeded) {
			t.Errorf("rank 0: %v", errs[0])
		}
		for rank, err := range errs {
			if !errors.Is(err, ring.ErrBroken) {
				t.Errorf("rank %d: %v", rank, err)
			}
			if rank > 0 && !strings.Contains(err.Error(), "ring: broken: epoch 7: p0: collective 0 given up: context deadline exceeded") {
				t.Errorf("rank %d does not say who gave up: %v", rank, err)
			}
		}
	})
}

// TestWaitAfterDone returns the result even if the context has ended.
func TestWaitAfterDone(t *testing.T) {
	g := open(t, 2, ringtest.Options{}, allreduce.Config{})
	g.must(func(ctx context.Context, c *allreduce.Comm) error {
		w := c.Start(allreduce.Of([]float32{1}), allreduce.Sum)
		<-w.Done()
		ended, cancel := context.WithCancel(ctx)
		cancel()
		return w.Wait(ended)
	})
	g.must(reduce[float32](allreduce.Sum, 1))
}

// TestDeathOfTasks kills a peer in the middle of every kind of collective.
func TestDeathOfTasks(t *testing.T) {
	opts := ringtest.Options{FrameBytes: 1 << 10, Window: 2 << 10, Delay: time.Millisecond, Lanes: 2}
	for name, make := range tasks {
		for _, n := range []int{2, 4} {
			t.Run(fmt.Sprintf("%s/size=%d", name, n), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					g := open(t, n, opts, allreduce.Config{})
					task := make(rand.New(rand.NewPCG(9, uint64(n))), n, 20000)
					time.AfterFunc(20*time.Millisecond, func() { g.net.Kill("p1") })
					begin := time.Now()
					for rank, err := range g.each(func(ctx context.Context, c *allreduce.Comm) error {
						if err := task(ctx, c); err != nil {
							return err
						}
						for { // a small one, or one in which this rank has no part
							if err := c.Barrier(ctx); err != nil {
								return err
							}
						}
					}) {
						if !errors.Is(err, ring.ErrBroken) {
							t.Errorf("rank %d: %v", rank, err)
						}
					}
					if d := time.Since(begin); d > 300*time.Millisecond {
						t.Errorf("the last knew after %v", d)
					}
				})
			})
		}
	}
}
