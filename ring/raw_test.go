package ring_test

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringrun/ringrun/ring"
	"github.com/ringrun/ringrun/ring/ringtest"
)

// A raw peer speaks frame by frame, and need not behave.
type raw struct {
	next, prev ring.Link // to and from the ring under test
}

// openRaw opens a ring of p0 and p1, of which p1 is raw.
func openRaw(t *testing.T, opts ringtest.Options) (*ring.Ring, raw) {
	t.Helper()
	net := ringtest.NewNet(opts)
	e := ring.Edge{Self: "p1", Peer: "p0", Epoch: 3}
	var p raw
	var errs [2]error
	var all sync.WaitGroup
	all.Go(func() { p.next, errs[0] = net.Transport("p1").Dial(t.Context(), e) })
	all.Go(func() { p.prev, errs[1] = net.Transport("p1").Accept(t.Context(), e) })
	r, err := ring.Open(t.Context(), ring.Config{Self: "p0", Peers: names(2), Epoch: 3, Transport: net.Transport("p0")})
	all.Wait()
	if err := errors.Join(err, errs[0], errs[1]); err != nil {
		t.Fatal(err)
	}
	return r, p
}

// heartbeats sends them until the links are closed; the function it returns
// waits for that.
func heartbeats(links ...ring.Link) (wait func()) {
	var all sync.WaitGroup
	for _, l := range links {
		all.Go(func() {
			for l.Send(ring.Header{Kind: ring.Alive, Epoch: 3}, nil) == nil {
				time.Sleep(200 * time.Millisecond)
			}
		})
	}
	return all.Wait
}

func TestBadFramesBreakTheRing(t *testing.T) {
	for _, tt := range []struct {
		name string
		send func(p raw) error
		want string
	}{
		{"epoch of data", func(p raw) error { return p.next.Send(ring.Header{Kind: ring.Data, Epoch: 2}, nil) }, "frame of epoch 2 from p1"},
		{"epoch backward", func(p raw) error { return p.prev.Send(ring.Header{Kind: ring.Alive, Epoch: 4}, nil) }, "frame of epoch 4 from p1"},
		{"data backward", func(p raw) error { return p.prev.Send(ring.Header{Kind: ring.Data, Epoch: 3, Seq: 8}, nil) }, "p1 sent data backward, seq 8"},
		{"abort of nobody", func(p raw) error { return p.next.Send(ring.Header{Kind: ring.Abort, Epoch: 3, Root: 2}, nil) }, "rank 2 of 2"},
		{"abort too long", func(p raw) error {
			return p.prev.Send(ring.Header{Kind: ring.Abort, Epoch: 3, Length: 4097}, make([]byte, 4097))
		}, "4097 bytes"},
		{"abort", func(p raw) error {
			return p.prev.Send(ring.Header{Kind: ring.Abort, Epoch: 3, Root: 1, Op: 5, Length: 4}, []byte("no\xffo"))
		}, "p1: no�o"},
	} {
		synctest.Test(t, func(t *testing.T) {
			r, p := openRaw(t, ringtest.Options{})
			defer r.Close()
			reader := readAll([]*ring.Ring{r})
			if err := tt.send(p); err != nil {
				t.Fatal(err)
			}
			<-r.Done()
			reader()
			if err := r.Err(); !errors.Is(err, ring.ErrBroken) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s: %v, want: %s", tt.name, err, tt.want)
			}
		})
	}
}

// TestReasonMayComeLate: one link ends a moment before the other one says why.
func TestReasonMayComeLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, p := openRaw(t, ringtest.Options{})
		defer r.Close()
		defer readAll([]*ring.Ring{r})()
		p.next.Close()
		time.Sleep(10 * time.Millisecond)
		if err := p.prev.Send(ring.Header{Kind: ring.Abort, Epoch: 3, Root: 1, Length: 3}, []byte("why")); err != nil {
			t.Fatal(err)
		}
		<-r.Done()
		if why, ok := errors.AsType[*ring.AbortError](r.Err()); !ok || why.Text != "why" {
			t.Errorf("got %v, want what p1 says", r.Err())
		}
	})
}

// TestByeIsBelieved: p1 says Bye, but neither closes its links nor reads on.
// Who sends to it must not wait for that.
func TestByeIsBelieved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, p := openRaw(t, ringtest.Options{})
		defer r.Close()
		sent := sendAll([]*ring.Ring{r})
		begin := time.Now()
		if err := p.prev.Send(ring.Header{Kind: ring.Bye, Epoch: 3}, nil); err != nil {
			t.Fatal(err)
		}
		sent()
		if d := time.Since(begin); d > 0 || r.Err() != nil {
			t.Errorf("the sender woke after %v, and the ring: %v", d, r.Err())
		}
	})
}

// TestSilenceCountsOnlyWhileWaiting: p1 shows that it lives on one of its links
// only. That it does not on the other is held against it from when p0 listens
// there, not before.
func TestSilenceCountsOnlyWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, p := openRaw(t, ringtest.Options{Window: 1 << 20})
		defer heartbeats(p.prev)()
		defer r.Close()
		time.Sleep(time.Minute)
		if err := r.Err(); err != nil {
			t.Fatalf("p0 was busy, and broke the ring: %v", err)
		}
		begin := time.Now()
		_, err := r.Lanes()[0].Next()
		if d := time.Since(begin); err == nil || d < 900*time.Millisecond || d > 1200*time.Millisecond {
			t.Errorf("Next returned after %v: %v; want after 1s that p1 is silent", d, err)
		}
	})
}

// TestHeartbeatsAreFew counts what an idle ring sends in a minute.
func TestHeartbeatsAreFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, p := openRaw(t, ringtest.Options{})
		defer heartbeats(p.next, p.prev)()
		defer r.Close()
		begin := time.Now()
		frames := make(chan int)
		for _, l := range []ring.Link{p.next, p.prev} {
			go func() {
				n := 0
				for time.Since(begin) < time.Minute {
					if h, err := l.Next(); err != nil || h.Kind != ring.Alive {
						t.Errorf("got %+v, %v; want Alive", h, err)
						break
					}
					n++
				}
				frames <- n
			}()
		}
		for range 2 {
			if n := <-frames; n < 230 || n > 250 {
				t.Errorf("%d frames in a minute, want one per quarter of a second", n)
			}
		}
	})
}
