package allreduce_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringrun/ringrun/allreduce"
	"github.com/ringrun/ringrun/ring"
	"github.com/ringrun/ringrun/ring/ringtest"
)

// TestFrameAfterTheLast: a peer sends all frames of a collective, and one more,
// before this peer has begun it. The vector is the caller's by then.
func TestFrameAfterTheLast(t *testing.T) {
	f32 := uint8(allreduce.Float32)
	half := ring.Header{Op: 32, Type: f32, Count: 10} // a reduce-scatter
	cast := ring.Header{Op: 16, Type: f32, Count: 10, Root: 1}
	data := cast
	data.Step = 1
	type frame struct {
		h    ring.Header
		body int
	}
	for name, tt := range map[string]struct {
		frames []frame
		start  func(c *allreduce.Comm) *allreduce.Work
	}{
		"broadcast": {[]frame{{cast, 0}, {data, 40}, {data, 40}}, func(c *allreduce.Comm) *allreduce.Work {
			return c.StartBroadcast(allreduce.Of(make([]float32, 10)), 1)
		}},
		"reduce-scatter": {[]frame{{half, 20}, {half, 20}}, func(c *allreduce.Comm) *allreduce.Work {
			return c.StartReduceScatter(allreduce.Of(make([]float32, 10)), allreduce.Sum, nil)
		}},
		"exchange": {[]frame{{ring.Header{Type: f32, Count: 10}, 40}, {ring.Header{Type: f32, Count: 10, Step: 1}, 40}}, func(c *allreduce.Comm) *allreduce.Work {
			return c.Start(allreduce.Of(make([]float32, 10)), allreduce.Sum)
		}},
		"gather": {[]frame{{ring.Header{Op: 17, Count: 3}, 3}, {ring.Header{Op: 17, Count: 9, Step: 1, Offset: 4}, 5}}, func(c *allreduce.Comm) *allreduce.Work {
			w, _ := c.StartGather([]byte("mine"))
			return w
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, peer := withStranger(t, ringtest.Options{})
				for _, f := range tt.frames {
					if err := peer.Lanes()[0].Send(f.h, make([]byte, f.body)); err != nil {
						t.Fatal(err)
					}
				}
				synctest.Wait()
				_ = tt.start(c).Wait(t.Context()) // it may have been complete before
				select {
				case <-c.Done():
				case <-time.After(time.Minute):
				}
				if err := c.Err(); !errors.Is(err, ring.ErrBroken) {
					t.Errorf("%v, want a broken ring", err)
				}
			})
		})
	}
}

// TestGrantTwice: a peer grants an empty message twice while the first frame of
// it waits to be sent. It is sent once.
func TestGrantTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, peer := withStranger(t, ringtest.Options{Window: 1})
		lane := peer.Lanes()[0]
		works := []*allreduce.Work{
			c.StartSend(allreduce.Of(make([]int8, 9)), 1),
			c.StartSend(allreduce.Of(make([]int8, 9)), 1),
			c.StartSend(allreduce.Of([]int8{}), 1),
		}
		grant := ring.Header{Op: 25, Type: uint8(allreduce.Int8), Root: 1 << 16}
		for seq, bytes := range []uint64{9, 9, 0, 0} { // the first two fill the window and the sender's hand
			h := grant
			h.Seq, h.Count, h.Offset = uint32(min(seq, 2)), bytes, bytes
			if err := lane.Send(h, nil); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		for range works {
			if _, err := lane.Next(); err != nil {
				t.Fatal(err)
			}
		}
		for i, w := range works {
			if err := w.Wait(t.Context()); err != nil {
				t.Errorf("message %d: %v", i, err)
			}
		}
		synctest.Wait()
		if s := c.Stats(); s.Frames != 3 {
			t.Errorf("%d frames sent, want 3", s.Frames)
		}
	})
}

// withStranger opens a ring of two: a Comm, and a peer that sends what it likes.
func withStranger(t *testing.T, opts ringtest.Options) (*allreduce.Comm, *ring.Ring) {
	t.Helper()
	net := ringtest.NewNet(opts)
	rings := make([]chan *ring.Ring, 2)
	for i, p := range []string{"p0", "p1"} {
		rings[i] = make(chan *ring.Ring, 1)
		go func() {
			r, err := ring.Open(t.Context(), ring.Config{Self: p, Peers: []string{"p0", "p1"}, Epoch: 1, Transport: net.Transport(p)})
			if err != nil {
				t.Error(err)
			}
			rings[i] <- r
		}()
	}
	mine, theirs := <-rings[0], <-rings[1]
	if mine == nil || theirs == nil {
		t.FailNow()
	}
	c := allreduce.New(mine, allreduce.Config{})
	t.Cleanup(func() {
		c.Close()
		theirs.Close()
	})
	return c, theirs
}
