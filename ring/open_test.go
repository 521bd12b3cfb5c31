package ring_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringrun/ringrun/ring"
	"github.com/ringrun/ringrun/ring/ringtest"
)

// opening is one Open in progress.
type opening struct {
	ring *ring.Ring
	err  error
	took time.Duration
}

func openLater(ctx context.Context, net *ringtest.Net, self string, peers []string, after time.Duration) <-chan opening {
	c := make(chan opening, 1)
	go func() {
		time.Sleep(after)
		begin := time.Now()
		r, err := ring.Open(ctx, ring.Config{Self: self, Peers: peers, Epoch: 5, Transport: net.Transport(self)})
		c <- opening{r, err, time.Since(begin)}
	}()
	return c
}

func TestContextEndsOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := ringtest.NewNet(ringtest.Options{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		o := <-openLater(ctx, net, "a", []string{"a", "b"}, 0)
		if !errors.Is(o.err, context.DeadlineExceeded) || !errors.Is(o.err, ring.ErrBroken) || o.took != time.Second {
			t.Errorf("got %v after %v, want a broken ring because of the deadline after 1s", o.err, o.took)
		}
		if !strings.Contains(o.err.Error(), " b, lane 0") || !strings.Contains(o.err.Error(), "epoch 5") {
			t.Errorf("%q does not name the link", o.err)
		}
	})
}

// TestOpenWaitsForLatePeer: p2 comes ten times Silence after the others. Their
// links to each other must not be taken for silent meanwhile.
func TestOpenWaitsForLatePeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := ringtest.NewNet(ringtest.Options{})
		var all []<-chan opening
		for _, p := range names(4) {
			after := time.Duration(0)
			if p == "p2" {
				after = 10 * time.Second
			}
			all = append(all, openLater(t.Context(), net, p, names(4), after))
		}
		var rings []*ring.Ring
		for i, c := range all {
			o := <-c
			if o.err != nil {
				t.Fatalf("p%d: %v", i, o.err)
			}
			rings = append(rings, o.ring)
		}
		closeAll(t, net, rings)
	})
}

// TestOpenFailsForAll: p2 never comes and p1 loses patience. p0, whose own
// links are open, and p3, who would wait longer, learn it from p1.
func TestOpenFailsForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := ringtest.NewNet(ringtest.Options{})
		short, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		p0 := openLater(t.Context(), net, "p0", names(4), 0)
		p1 := openLater(short, net, "p1", names(4), 0)
		p3 := openLater(t.Context(), net, "p3", names(4), 0)
		if o := <-p1; !errors.Is(o.err, context.DeadlineExceeded) {
			t.Errorf("p1: %v, want context.DeadlineExceeded", o.err)
		}
		o := <-p0
		if o.err != nil {
			t.Fatalf("p0: %v", o.err)
		}
		<-o.ring.Done()
		for _, err := range []error{o.ring.Err(), (<-p3).err} {
			why, ok := errors.AsType[*ring.AbortError](err)
			if !ok || why.Peer != "p1" || !strings.Contains(why.Text, "dial p2") {
				t.Errorf("got %v, want what p1 says", err)
			}
		}
		o.ring.Close()
		if n := net.Links(); n != 0 {
			t.Errorf("%d ends of links are left", n)
		}
	})
}

func TestEpochsDoNotMix(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := ringtest.NewNet(ringtest.Options{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var all sync.WaitGroup
		defer all.Wait()
		for i, p := range names(2) {
			all.Go(func() {
				_, err := ring.Open(ctx, ring.Config{Self: p, Peers: names(2), Epoch: uint64(i), Transport: net.Transport(p)})
				if err == nil {
					t.Errorf("%s opened a ring of epoch %d with a peer of another", p, i)
				}
			})
		}
	})
}
