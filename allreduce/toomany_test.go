package allreduce_test

import (
	"errors"
	"slices"
	"strings"
	"sync"
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

// TestFrameTooLarge: a peer sends a frame that is larger than the next link takes,
// in collectives and messages that pass on what comes.
func TestFrameTooLarge(t *testing.T) {
	i8 := uint8(allreduce.Int8)
	for name, tt := range map[string]struct {
		h     ring.Header
		start func(c *allreduce.Comm)
	}{
		"message": {ring.Header{Op: 24, Type: i8, Count: 300, Root: 2 | 1<<16}, func(*allreduce.Comm) {}},
		"all-to-all": {ring.Header{Op: 23, Type: i8, Count: 300}, func(c *allreduce.Comm) {
			v := allreduce.Of(make([]int8, 30))
			w := allreduce.Of(make([]int8, 30))
			c.StartAllToAll([]allreduce.Vector{v, v, v}, []allreduce.Vector{w, w, w})
		}},
		"exchange": {ring.Header{Op: 0, Type: i8, Count: 300}, func(c *allreduce.Comm) {
			c.Start(allreduce.Of(make([]int8, 300)), allreduce.Sum)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, peers := withStrangers(t, ringtest.Options{FrameBytes: 200}, 3)
				tt.start(c)
				if err := peers[2].Lanes()[0].Send(tt.h, make([]byte, 300)); err != nil {
					t.Fatal(err)
				}
				select {
				case <-c.Done():
				case <-time.After(time.Minute):
				}
				if err := c.Err(); !errors.Is(err, ring.ErrBroken) || !strings.Contains(err.Error(), "300 bytes") {
					t.Errorf("%v, want a broken ring because of 300 bytes", err)
				}
			})
		})
	}
}

func withStranger(t *testing.T, opts ringtest.Options) (*allreduce.Comm, *ring.Ring) {
	t.Helper()
	c, peers := withStrangers(t, opts, 2)
	return c, peers[1]
}

// withStrangers opens a ring of a Comm, which is the first, and peers that send
// what they like.
func withStrangers(t *testing.T, opts ringtest.Options, n int) (*allreduce.Comm, []*ring.Ring) {
	t.Helper()
	net := ringtest.NewNet(opts)
	names, rings := []string{"p0", "p1", "p2"}[:n], make([]*ring.Ring, n)
	var wg sync.WaitGroup
	for i, p := range names {
		wg.Go(func() {
			var tr ring.Transport = net.Transport(p)
			if i > 0 {
				tr = roomy{tr}
			}
			r, err := ring.Open(t.Context(), ring.Config{Self: p, Peers: names, Epoch: 1, Transport: tr})
			if err != nil {
				t.Error(err)
			}
			rings[i] = r
		})
	}
	wg.Wait()
	if slices.Contains(rings, nil) {
		t.FailNow()
	}
	c := allreduce.New(rings[0], allreduce.Config{SmallBytes: 1 << 10})
	t.Cleanup(func() {
		c.Close()
		for _, r := range rings {
			r.Close()
		}
	})
	return c, rings
}

// A roomy transport says that its frames are larger than they are.
type roomy struct{ ring.Transport }

func (r roomy) Limits() ring.Limits { return ring.Limits{FrameBytes: ring.MaxBody, Lanes: 1} }
