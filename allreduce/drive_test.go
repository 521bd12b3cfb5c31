package allreduce_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/ringrun/ringrun/allreduce"
	"github.com/ringrun/ringrun/ring"
	"github.com/ringrun/ringrun/ring/ringtest"
)

// TestDriving lets several goroutines of each rank wait for works that they have
// started one after another, and for messages, over links that can be polled and
// whose windows are tiny. One of them drives at a time.
func TestDriving(t *testing.T) {
	noLeaks(t)
	for _, n := range []int{2, 3, 4} {
		for _, opts := range []ringtest.Options{
			{Pollable: true},
			{Pollable: true, FrameBytes: 1 << 10, Window: 1 << 10},
			{Pollable: true, FrameBytes: 4 << 10, Window: 4 << 10, Lanes: 3, Delay: 300 * time.Microsecond},
		} {
			t.Run(fmt.Sprintf("%d %+v", n, opts), func(t *testing.T) {
				g := open(t, n, opts, allreduce.Config{InFlightBytes: 100000})
				r := rand.New(rand.NewPCG(11, uint64(n)))
				var todo []job
				for i := range 60 {
					todo = append(todo, jobs[i%len(jobs)](r, ops[i%len(ops)], n, r.IntN(20)*r.IntN(2000)))
				}
				g.must(func(ctx context.Context, c *allreduce.Comm) error { return waitTogether(ctx, c, todo) })
				g.close()
			})
		}
	}
}

// waitTogether starts all jobs and waits for them in several goroutines, while it
// sends messages round.
func waitTogether(ctx context.Context, c *allreduce.Comm, todo []job) error {
	works := make(chan func() error, len(todo))
	for _, j := range todo {
		w := c.Start(j.vectors[c.Rank()], j.op)
		works <- func() error { return errors.Join(w.Wait(ctx), j.check(c.Rank())) }
	}
	close(works)
	errs := make([]error, 4)
	var all sync.WaitGroup
	for i := range 3 {
		all.Go(func() {
			for wait := range works {
				errs[i] = errors.Join(errs[i], wait())
			}
		})
	}
	all.Go(func() { errs[3] = passRound(ctx, c) })
	all.Wait()
	return errors.Join(errs...)
}

func passRound(ctx context.Context, c *allreduce.Comm) error {
	n := c.Size()
	for i := range 10 {
		x, y := random(3000, c.Rank()+i), make([]float32, 3000)
		w := c.StartSend(allreduce.Of(x), (c.Rank()+1)%n)
		if err := c.Recv(ctx, allreduce.Of(y), (c.Rank()+n-1)%n); err != nil {
			return err
		}
		if want := random(3000, (c.Rank()+n-1)%n+i); string(allreduce.Of(y).Bytes()) != string(allreduce.Of(want).Bytes()) {
			return fmt.Errorf("message %d to rank %d is wrong", i, c.Rank())
		}
		if err := w.Wait(ctx); err != nil {
			return err
		}
	}
	return nil
}

// TestNobodyDrives starts works right after one that was driven, and does not
// wait for them: they end nevertheless. Then a rank closes, and the others see it
// although they do nothing.
func TestNobodyDrives(t *testing.T) {
	noLeaks(t)
	for _, n := range []int{2, 3} {
		g := open(t, n, ringtest.Options{Pollable: true}, allreduce.Config{})
		for range 20 {
			g.must(func(ctx context.Context, c *allreduce.Comm) error {
				x := make([]float32, 50000)
				if err := c.AllReduce(ctx, allreduce.Of(x[:1]), allreduce.Sum); err != nil {
					return err
				}
				w := c.Start(allreduce.Of(x), allreduce.Sum)
				select {
				case <-w.Done():
					return nil
				case <-time.After(time.Minute):
					return errors.New("nobody received")
				}
			})
		}
		begin := time.Now()
		g.comms[0].Close()
		for rank, c := range g.comms[1:] {
			if n == 3 && rank == 0 {
				c.AllReduce(g.within(time.Minute), allreduce.Of(make([]float32, 3)), allreduce.Sum)
			}
		}
		for rank, c := range g.comms[1:] {
			if n == 2 {
				continue // a peer that has left breaks nothing as long as nobody needs it
			}
			select {
			case <-c.Done():
			case <-time.After(soon):
				t.Errorf("rank %d does not see after %v that the ring is broken", rank+1, time.Since(begin))
			}
		}
		g.close()
	}
}

// TestDriverGivesUp ends the context of a rank that drives and waits for one that
// never comes, early, while it still spins, and late, while it sleeps.
func TestDriverGivesUp(t *testing.T) {
	noLeaks(t)
	for _, patience := range []time.Duration{0, 100 * time.Microsecond, 20 * time.Millisecond} {
		for _, length := range []int{1, 1 << 20} {
			g := open(t, 3, ringtest.Options{Pollable: true, Window: 8 << 10}, allreduce.Config{})
			begin := time.Now()
			errs := g.each(func(ctx context.Context, c *allreduce.Comm) error {
				if c.Rank() == 0 {
					<-c.Done()
					return c.Err()
				}
				if c.Rank() == 1 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, patience)
					defer cancel()
				}
				return c.AllReduce(ctx, allreduce.Of(make([]float32, length)), allreduce.Sum)
			})
			for rank, err := range errs {
				if !errors.Is(err, ring.ErrBroken) {
					t.Errorf("rank %d: %v, want ErrBroken", rank, err)
				}
			}
			if d := time.Since(begin) - patience; d > soon {
				t.Errorf("all knew after %v", d)
			}
			g.close()
		}
	}
}

// TestDriverSeesEnd closes a rank while the others drive.
func TestDriverSeesEnd(t *testing.T) {
	noLeaks(t)
	for _, opts := range []ringtest.Options{{Pollable: true}, {Pollable: true, Window: 1 << 10, FrameBytes: 4 << 10}} {
		for _, n := range []int{2, 4} {
			g := open(t, n, opts, allreduce.Config{})
			closing(g)
			g.close()
		}
	}
}

// TestDriversDisagree: ErrMismatch for all, also while all drive.
func TestDriversDisagree(t *testing.T) {
	noLeaks(t)
	for range 10 {
		g := open(t, 3, ringtest.Options{Pollable: true, Window: 1 << 10}, allreduce.Config{})
		errs := g.each(func(ctx context.Context, c *allreduce.Comm) error {
			return c.AllReduce(ctx, allreduce.Of(make([]float32, 20000+c.Rank()/2)), allreduce.Sum)
		})
		for rank, err := range errs {
			if !errors.Is(err, allreduce.ErrMismatch) {
				t.Errorf("rank %d: %v, want ErrMismatch", rank, err)
			}
		}
		g.close()
	}
}
