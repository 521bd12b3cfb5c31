package ring_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringrun/ringrun/ring"
	"github.com/ringrun/ringrun/ring/ringtest"
)

func hasLeft(err error, peer string) bool {
	return errors.Is(err, ring.ErrBroken) && strings.HasSuffix(err.Error(), peer+" has left")
}

// TestBye: p1 sends its last frame and closes its ring. Its neighbours get what
// it sent, learn that it has left, and stay whole.
func TestBye(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := ringtest.NewNet(ringtest.Options{Delay: time.Millisecond})
		rings := openAll(t, net, names(3), ring.Config{Epoch: 6})
		defer closeAll(t, net, rings)
		if err := rings[1].Lanes()[0].Send(ring.Header{Seq: 77}, []byte("the end")); err != nil {
			t.Fatal(err)
		}
		if err := rings[1].Close(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute) // a peer that has left is not silent
		next := rings[2].Lanes()[0]
		if h, err := next.Next(); err != nil || h.Seq != 77 || h.Length != 7 {
			t.Errorf("p2: got %+v, %v; want the last frame of p1", h, err)
		}
		for range 2 {
			if _, err := next.Next(); !hasLeft(err, "p1") {
				t.Errorf("p2: Next: %v; want that p1 has left", err)
			}
		}
		if err := rings[0].Lanes()[0].Send(ring.Header{}, nil); !hasLeft(err, "p1") {
			t.Errorf("p0: Send: %v; want that p1 has left", err)
		}
		for _, i := range []int{0, 2} {
			if err := rings[i].Err(); err != nil {
				t.Errorf("p%d: the ring is broken: %v", i, err)
			}
		}
		if err := rings[2].Lanes()[0].Send(ring.Header{}, nil); err != nil {
			t.Errorf("p2 cannot send to p0, though both are there: %v", err)
		}
	})
}

// TestByeWakes: p0 waits for the window of p1, and p2 for a frame of p1, when
// p1 leaves.
func TestByeWakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := ringtest.NewNet(ringtest.Options{})
		rings := openAll(t, net, names(3), ring.Config{})
		defer closeAll(t, net, rings)
		sent, read := sendAll(rings[:1]), readAll(rings[2:])
		rings[1].Close()
		sent()
		read()
		for _, i := range []int{0, 2} {
			if err := rings[i].Err(); err != nil {
				t.Errorf("p%d: the ring is broken: %v", i, err)
			}
		}
	})
}

// TestAllLeave: everybody closes at about the same time, as at the end of a job.
func TestAllLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := ringtest.NewNet(ringtest.Options{Delay: time.Millisecond, Lanes: 2})
		rings := openAll(t, net, names(5), ring.Config{})
		wait := readAll(rings)
		for i, r := range rings {
			go func() {
				time.Sleep(time.Duration(i) * 300 * time.Microsecond)
				r.Close()
			}()
		}
		wait()
		for i, r := range rings {
			<-r.Done()
			if _, told := errors.AsType[*ring.AbortError](r.Err()); told {
				t.Errorf("p%d: %v, want only that it is closed", i, r.Err())
			}
		}
		closeAll(t, net, rings)
	})
}
