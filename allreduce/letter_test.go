package allreduce_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringrun/ringrun/allreduce"
	"github.com/ringrun/ringrun/ring"
	"github.com/ringrun/ringrun/ring/ringtest"
)

// TestMessages sends between all pairs at once, several each, larger than what
// is granted at a time, while collectives run.
func TestMessages(t *testing.T) {
	noLeaks(t)
	lengths := []int{0, 1, 1000, 700000}
	for _, n := range []int{2, 3, 5} {
		g := open(t, n, ringtest.Options{Window: 1 << 10, Lanes: 2}, allreduce.Config{InFlightBytes: 1000})
		g.must(func(ctx context.Context, c *allreduce.Comm) error {
			var works []*allreduce.Work
			var checks []func() error
			for peer := range n {
				if peer == c.Rank() {
					continue
				}
				for i, length := range lengths {
					y, want := make([]float32, length), random(length, 100*peer+c.Rank()+i)
					works = append(works, c.StartRecv(allreduce.Of(y), peer),
						c.StartSend(allreduce.Of(random(length, 100*c.Rank()+peer+i)), peer))
					checks = append(checks, func() error {
						if string(allreduce.Of(y).Bytes()) != string(allreduce.Of(want).Bytes()) {
							return fmt.Errorf("message %d from %d is wrong on rank %d", i, peer, c.Rank())
						}
						return nil
					})
				}
			}
			if err := c.AllReduce(ctx, allreduce.Of(make([]float32, 10000)), allreduce.Sum); err != nil {
				return err
			}
			for _, w := range works {
				if err := w.Wait(ctx); err != nil {
					return err
				}
			}
			for _, check := range checks {
				if err := check(); err != nil {
					return err
				}
			}
			return c.Barrier(ctx)
		})
		g.close()
	}
}

// TestMessagePastCollective has a peer wait for a message that is behind more
// frames of a collective than it holds for later.
func TestMessagePastCollective(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := open(t, 3, ringtest.Options{FrameBytes: 1 << 10, Window: 1 << 10}, allreduce.Config{InFlightBytes: 1})
		g.must(func(ctx context.Context, c *allreduce.Comm) error {
			x := allreduce.Of(make([]float32, 50000))
			var w *allreduce.Work
			if c.Rank() == 0 {
				w = c.Start(x, allreduce.Sum)
				time.Sleep(time.Second) // its frames are everywhere
				if err := c.Send(ctx, allreduce.Of([]int8{1, 2, 3}), 1); err != nil {
					return err
				}
			} else {
				if c.Rank() == 1 {
					time.Sleep(500 * time.Millisecond)
					if err := c.Recv(ctx, allreduce.Of(make([]int8, 3)), 0); err != nil {
						return err
					}
				}
				w = c.Start(x, allreduce.Sum)
			}
			return w.Wait(ctx)
		})
	})
}

// TestMessageNotAwaited holds a sender to send nothing before it is asked to,
// and no more than it is asked for while the receiver takes nothing in.
func TestMessageNotAwaited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := open(t, 4, ringtest.Options{Delay: time.Millisecond}, allreduce.Config{})
		x := random(2<<20, 1)
		y := make([]float32, len(x))
		w := g.comms[0].StartSend(allreduce.Of(x), 2)
		time.Sleep(100 * time.Millisecond)
		if s := g.comms[0].Stats(); s.Frames != 0 {
			t.Errorf("%d frames sent to nobody", s.Frames)
		}
		r := g.comms[2].StartRecv(allreduce.Of(y), 0)
		time.Sleep(1500 * time.Microsecond) // the grant is on its way
		g.net.Stall("p2")
		time.Sleep(500 * time.Millisecond)
		if s := g.comms[1].Stats(); s.ReceivedBodies != 1<<20 {
			t.Errorf("the peer between holds %d bytes, want %d", s.ReceivedBodies, 1<<20)
		}
		g.net.Resume("p2")
		ctx := g.within(time.Minute)
		if err := errors.Join(w.Wait(ctx), r.Wait(ctx)); err != nil {
			t.Error(err)
		}
		if !slices.Equal(x, y) {
			t.Error("something else arrives")
		}
		if s := g.comms[1].Stats(); s.SentBodies != 8<<20 {
			t.Errorf("the peer between passed on %d bytes, want %d", s.SentBodies, 8<<20)
		}
	})
}

// TestMessageMismatch has two peers disagree about a message. All get the same
// error, which names both.
func TestMessageMismatch(t *testing.T) {
	for name, wrong := range map[string]allreduce.Vector{
		"length": allreduce.Of(make([]float32, 6)),
		"type":   allreduce.Of(make([]int32, 5)),
	} {
		for _, n := range []int{2, 3, 5} {
			for from := range n {
				to := (from + n - 1) % n
				g := open(t, n, ringtest.Options{}, allreduce.Config{})
				errs := g.each(func(ctx context.Context, c *allreduce.Comm) error {
					switch c.Rank() {
					case from:
						return c.Send(ctx, allreduce.Of(make([]float32, 5)), to)
					case to:
						return c.Recv(ctx, wrong, from)
					}
					<-c.Done()
					return c.Err()
				})
				want := fmt.Sprintf("message 0 from p%d to p%d, epoch 7: p%d sends 5 float32, p%d wants %d %v", from, to, from, to, wrong.Len(), wrong.Type())
				for rank, err := range errs {
					if !errors.Is(err, allreduce.ErrMismatch) || !strings.Contains(err.Error(), want) {
						t.Errorf("%s, size %d, from %d: rank %d: %v, want %q", name, n, from, rank, err, want)
					}
				}
				g.close()
			}
		}
	}
}

// TestMessageBroken breaks the ring, or lets a peer leave, with messages on
// their way and others that nobody answers.
func TestMessageBroken(t *testing.T) {
	for name, fault := range map[string]func(*group){
		"cut":   func(g *group) { g.net.Cut("p0", "p1") },
		"kill":  func(g *group) { g.net.Kill("p1") },
		"stall": func(g *group) { g.net.Stall("p1") },
		"close": func(g *group) { go g.comms[1].Close() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := open(t, 4, ringtest.Options{FrameBytes: 1 << 10, Window: 2 << 10, Delay: time.Millisecond}, allreduce.Config{})
				time.AfterFunc(20*time.Millisecond, func() { fault(g) })
				begin := time.Now()
				errs := g.each(func(ctx context.Context, c *allreduce.Comm) error {
					x := allreduce.Of(make([]float32, 1<<20))
					switch c.Rank() {
					case 0:
						return c.Send(ctx, x, 2)
					case 1:
						<-c.Done()
						return c.Err()
					case 2:
						return c.Recv(ctx, x, 0)
					}
					return c.Recv(ctx, x, 1)
				})
				for rank, err := range errs {
					if !errors.Is(err, ring.ErrBroken) {
						t.Errorf("rank %d: %v", rank, err)
					}
				}
				if d := time.Since(begin); d > 2*silence {
					t.Errorf("the last knew after %v", d)
				}
			})
		})
	}
}

// TestMessageAfterLeaving begins a message when the peer it needs has left.
func TestMessageAfterLeaving(t *testing.T) {
	for _, send := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			g := open(t, 3, ringtest.Options{}, allreduce.Config{})
			g.comms[1].Close()
			synctest.Wait()
			x := allreduce.Of(make([]float32, 5))
			w := g.comms[2].StartRecv(x, 0)
			if send {
				w = g.comms[2].StartSend(x, 0)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if err := w.Wait(ctx); !errors.Is(err, ring.ErrBroken) || !strings.Contains(err.Error(), "p1 has left") {
				t.Errorf("send %v: %v", send, err)
			}
		})
	}
}

// TestMessageGivenUp says which message was given up.
func TestMessageGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := open(t, 3, ringtest.Options{}, allreduce.Config{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := g.comms[0].Recv(ctx, allreduce.Of(make([]float32, 5)), 2)
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "message 0 from p2 to p0 given up") {
			t.Error(err)
		}
		<-g.comms[1].Done()
		if err := g.comms[1].Err(); !strings.Contains(err.Error(), "p0: message 0 from p2 to p0 given up") {
			t.Error(err)
		}
	})
}
