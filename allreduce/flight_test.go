package allreduce_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringrun/ringrun/allreduce"
	"github.com/ringrun/ringrun/ring"
	"github.com/ringrun/ringrun/ring/ringtest"
)

// TestAsymmetricWaits has one rank start everything at once, one wait for each
// before the next, and one wait in the wrong order. With little memory for what
// is in flight this must still come to an end.
func TestAsymmetricWaits(t *testing.T) {
	noLeaks(t)
	const n, count, length = 3, 20, 5000
	for i, limits := range [][n]int{
		{1, 1, 1}, {4 * length, 4 * length, 4 * length}, {12 * length, 12 * length, 12 * length},
		{1 << 30, 1, 1}, {1, 1 << 30, 1}, {1 << 30, 1, 1 << 30}, // alike is better, but not needed
	} {
		for _, lanes := range []int{1, 3} {
			opts := ringtest.Options{Lanes: lanes, FrameBytes: 1 << 10, Window: 1 << 10}
			g := openEach(t, n, opts, func(rank int) allreduce.Config {
				return allreduce.Config{InFlightBytes: limits[rank]}
			})
			r := rand.New(rand.NewPCG(3, uint64(i)))
			var todo []job
			for i := range count {
				todo = append(todo, jobs[i%len(jobs)](r, ops[i%len(ops)], n, length+i))
			}
			g.must(func(ctx context.Context, c *allreduce.Comm) error { return asymmetric(ctx, c, todo) })
			g.close()
		}
	}
}

func asymmetric(ctx context.Context, c *allreduce.Comm, todo []job) error {
	var works []*allreduce.Work
	for _, j := range todo {
		w := c.Start(j.vectors[c.Rank()], j.op)
		if c.Rank() == 1 {
			if err := w.Wait(ctx); err != nil {
				return err
			}
		}
		works = append(works, w)
	}
	for i := range works {
		if c.Rank() == 2 {
			i = len(works) - 1 - i
		}
		if err := works[i].Wait(ctx); err != nil {
			return err
		}
		if err := todo[i].check(c.Rank()); err != nil {
			return err
		}
	}
	return nil
}

// TestManyInFlight runs random collectives in random rings with random pauses,
// over links with a delay, in virtual time.
func TestManyInFlight(t *testing.T) {
	seeds := uint64(200)
	if testing.Short() {
		seeds = 40
	}
	for seed := range seeds {
		synctest.Test(t, func(t *testing.T) { manyInFlight(t, seed) })
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func manyInFlight(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(4, seed))
	n := 1 + r.IntN(6)
	opts := ringtest.Options{
		Lanes:      1 + r.IntN(3),
		FrameBytes: 200 + r.IntN(5000),
		Window:     1 + r.IntN(20000),
		Delay:      time.Duration(r.IntN(5)) * time.Millisecond,
	}
	g := open(t, n, opts, allreduce.Config{InFlightBytes: 1 + r.IntN(100000)})
	story := newStory(r, n)
	seeds := make([]uint64, n)
	for i := range seeds {
		seeds[i] = r.Uint64()
	}
	errs := g.each(func(ctx context.Context, c *allreduce.Comm) error {
		err := story.play(ctx, c, rand.New(rand.NewPCG(5, seeds[c.Rank()])))
		c.Close() // who is first leaves while others are still at it
		return err
	})
	for rank, err := range errs {
		if err != nil {
			t.Errorf("seed %d, size %d, %+v: rank %d: %v", seed, n, opts, rank, err)
		}
	}
}

// A story is what all ranks do, in order.
type story []chapter

type chapter struct {
	kind string
	job  job                                                // of an all-reduce
	data [][]byte                                           // of a gather
	task func(ctx context.Context, c *allreduce.Comm) error // of the kinds in tasks
}

// kinds says how often what happens.
var kinds = append([]string{"reduce", "reduce", "reduce", "reduce", "gather", "barrier"}, slices.Sorted(maps.Keys(tasks))...)

func (ch chapter) plan(r *rand.Rand, n int) chapter {
	if make, ok := tasks[ch.kind]; ok {
		ch.task = make(r, n, r.IntN(1+r.IntN(20000)))
	}
	return ch
}

func newStory(r *rand.Rand, n int) (s story) {
	for range 1 + r.IntN(12) {
		c := chapter{kind: kinds[r.IntN(len(kinds))]}
		c.job = jobs[r.IntN(len(jobs))](r, ops[r.IntN(len(ops))], n, r.IntN(1+r.IntN(30000)))
		for range n {
			b := make([]byte, r.IntN(1+r.IntN(20000)))
			for i := range b {
				b[i] = byte(r.Uint32())
			}
			c.data = append(c.data, b)
		}
		s = append(s, c.plan(r, n))
	}
	return append(s, chapter{kind: "barrier"}) // nobody leaves who may have messages to pass on
}

func (s story) play(ctx context.Context, c *allreduce.Comm, r *rand.Rand) error {
	pending := map[*allreduce.Work]job{}
	settle := func(w *allreduce.Work) error {
		j := pending[w]
		delete(pending, w)
		return errors.Join(w.Wait(ctx), j.check(c.Rank()))
	}
	for _, ch := range s {
		time.Sleep(time.Duration(r.IntN(3)) * time.Duration(r.IntN(10)) * time.Millisecond)
		if ch.kind == "reduce" {
			pending[c.Start(ch.job.vectors[c.Rank()], ch.job.op)] = ch.job
		} else if err := ch.run(ctx, c); err != nil {
			return err
		}
		for w := range pending {
			if r.IntN(3) == 0 {
				if err := settle(w); err != nil {
					return err
				}
			}
		}
	}
	for w := range pending {
		if err := settle(w); err != nil {
			return err
		}
	}
	return nil
}

func (ch chapter) run(ctx context.Context, c *allreduce.Comm) error {
	switch ch.kind {
	case "gather":
		all, err := c.Gather(ctx, ch.data[c.Rank()])
		if err != nil {
			return err
		}
		for rank, b := range all {
			if string(b) != string(ch.data[rank]) {
				return fmt.Errorf("gather: rank %d has %d bytes of rank %d, want %d, or other ones", c.Rank(), len(b), rank, len(ch.data[rank]))
			}
		}
	case "barrier":
		return c.Barrier(ctx)
	default:
		return ch.task(ctx, c)
	}
	return nil
}

// TestBarrier holds everybody back until the last has come.
func TestBarrier(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 4
		g := open(t, n, ringtest.Options{Delay: time.Millisecond}, allreduce.Config{})
		for late := range n {
			begin := time.Now()
			g.must(func(ctx context.Context, c *allreduce.Comm) error {
				if c.Rank() == late {
					time.Sleep(time.Second)
				}
				if err := c.Barrier(ctx); err != nil {
					return err
				}
				if d := time.Since(begin); d < time.Second || d > time.Second+2*n*time.Millisecond {
					return fmt.Errorf("left the barrier after %v, the last came after 1s", d)
				}
				return nil
			})
		}
	})
}

// TestInFlightIsBounded holds a peer to begin no more than InFlightBytes.
func TestInFlightIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 1 << 18
		g := open(t, 2, ringtest.Options{Window: 1 << 20}, allreduce.Config{InFlightBytes: limit})
		for range 10 {
			g.comms[0].Start(allreduce.Of(make([]float32, limit/4/4)), allreduce.Sum)
		}
		synctest.Wait()
		if got := g.comms[0].Stats().SentBodies; got != limit/2 {
			t.Errorf("%d bytes sent, want the halves of four vectors", got)
		}
	})
}

// TestEarlyFramesAreBounded holds a peer that has started nothing to take in no
// more than InFlightBytes and what a link buffers.
func TestEarlyFramesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit, length = 1 << 16, 1 << 20
		g := open(t, 2, ringtest.Options{FrameBytes: 1 << 10}, allreduce.Config{InFlightBytes: limit})
		x, y := make([]float32, length), make([]float32, length)
		w := g.comms[0].Start(allreduce.Of(x), allreduce.Sum)
		synctest.Wait()
		if got := g.comms[1].Stats().ReceivedBodies; got > limit+2<<10 {
			t.Errorf("%d bytes taken in, the limit is %d", got, limit)
		}
		if err := g.comms[1].AllReduce(t.Context(), allreduce.Of(y), allreduce.Sum); err != nil {
			t.Error(err)
		}
		if err := w.Wait(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestAfterClose holds everything that comes after Close to fail.
func TestAfterClose(t *testing.T) {
	for _, n := range []int{1, 2} {
		g := open(t, n, ringtest.Options{}, allreduce.Config{})
		g.close()
		for _, err := range g.each(func(ctx context.Context, c *allreduce.Comm) error {
			<-c.Done()
			if !errors.Is(c.Err(), ring.ErrBroken) {
				return fmt.Errorf("Err is %v", c.Err())
			}
			return c.AllReduce(ctx, allreduce.Of([]float32{1}), allreduce.Sum)
		}) {
			if !errors.Is(err, ring.ErrBroken) {
				t.Errorf("size %d: AllReduce after Close: %v", n, err)
			}
		}
	}
}
