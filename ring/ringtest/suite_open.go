package ringtest

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/ringrun/ringrun/ring"
)

func testDialWaits(t *testing.T, open func(t testing.TB, n int) []ring.Transport) {
	ts := open(t, 2)
	dial, accept := edges(0, 1, 1, 0)
	d := openLink(t.Context(), ts[0].Dial, dial)
	select {
	case r := <-d: // the peer cannot know that it has to keep this link alive
		t.Fatalf("Dial returned before Accept was called: %v", r.err)
	case <-time.After(100 * time.Millisecond):
	}
	a := openLink(t.Context(), ts[1].Accept, accept)
	exchange(t, take(t, "Dial", d), take(t, "Accept", a))
}

func testAcceptWaits(t *testing.T, open func(t testing.TB, n int) []ring.Transport) {
	ts := open(t, 2)
	dial, accept := edges(0, 1, 1, 0)
	a := openLink(t.Context(), ts[1].Accept, accept)
	select {
	case r := <-a:
		t.Fatalf("Accept returned before Dial was called: %v", r.err)
	case <-time.After(100 * time.Millisecond):
	}
	d := openLink(t.Context(), ts[0].Dial, dial)
	exchange(t, take(t, "Dial", d), take(t, "Accept", a))
}

// testContextEnds cancels a Dial and an Accept that nobody answers. The next
// epoch must not suffer.
func testContextEnds(t *testing.T, open func(t testing.TB, n int) []ring.Transport) {
	ts := open(t, 2)
	dial, accept := edges(0, 1, 1, 0)
	for _, f := range []func() <-chan opened{
		func() <-chan opened {
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			t.Cleanup(cancel)
			return openLink(ctx, ts[0].Dial, dial)
		},
		func() <-chan opened {
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			t.Cleanup(cancel)
			return openLink(ctx, ts[1].Accept, accept)
		},
	} {
		begin := time.Now()
		if r := wait(t, "a call whose context ends", f()); !errors.Is(r.err, context.DeadlineExceeded) {
			t.Errorf("got %v, want context.DeadlineExceeded", r.err)
		}
		if d := time.Since(begin); d > patience/3 {
			t.Errorf("it returned after %v", d)
		}
	}
	a, b := connect(t, ts, 0, 1, 2, 0)
	exchange(t, a, b)
}

// testWrongEdge: a link of one epoch or lane is never that of another.
func testWrongEdge(t *testing.T, open func(t testing.TB, n int) []ring.Transport) {
	ts := open(t, 2)
	_, accept := edges(0, 1, 5, 0)
	for _, e := range []ring.Edge{{Epoch: 4, Lane: 0}, {Epoch: 6, Lane: 0}, {Epoch: 5, Lane: 1}} {
		e.Self, e.Peer = "p0", "p1"
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		a, d := openLink(ctx, ts[1].Accept, accept), openLink(ctx, ts[0].Dial, e)
		if r := wait(t, "Dial", d); r.err == nil {
			t.Errorf("Dial(%+v) met Accept(%+v)", e, accept)
		}
		if r := wait(t, "Accept", a); r.err == nil {
			t.Errorf("Accept(%+v) met Dial(%+v)", accept, e)
		}
		cancel()
	}
	a, b := connect(t, ts, 0, 1, 7, 0)
	exchange(t, a, b)
}

// testStranger: who is not the expected peer gets no link, and does not keep
// that from the expected one.
func testStranger(t *testing.T, open func(t testing.TB, n int) []ring.Transport) {
	ts := open(t, 3)
	dial, accept := edges(0, 1, 1, 0)
	a := openLink(t.Context(), ts[1].Accept, accept)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	stranger := dial
	stranger.Self = "p2"
	if r := wait(t, "Dial", openLink(ctx, ts[2].Dial, stranger)); r.err == nil {
		t.Error("p2 got a link that p1 keeps for p0")
	}
	if r := wait(t, "Dial", openLink(ctx, ts[2].Dial, dial)); r.err == nil {
		t.Error("p2 got a link in the name of p0")
	}
	exchange(t, take(t, "Dial", openLink(t.Context(), ts[0].Dial, dial)), take(t, "Accept", a))
}

// testBothWays opens the two links of a ring of two.
func testBothWays(t *testing.T, open func(t testing.TB, n int) []ring.Transport) {
	ts := open(t, 2)
	d01, a10 := edges(0, 1, 1, 0)
	d10, a01 := edges(1, 0, 1, 0)
	links := []<-chan opened{
		openLink(t.Context(), ts[0].Dial, d01), openLink(t.Context(), ts[1].Accept, a10),
		openLink(t.Context(), ts[1].Dial, d10), openLink(t.Context(), ts[0].Accept, a01),
	}
	var got []ring.Link
	for _, c := range links {
		got = append(got, take(t, "link", c))
	}
	exchange(t, got[0], got[1])
	exchange(t, got[2], got[3])
}

// testLanes opens a ring of three with several lanes at once and uses all.
func testLanes(t *testing.T, open func(t testing.TB, n int) []ring.Transport) {
	ts := open(t, 3)
	var dialed, accepted []<-chan opened
	for i := range ts {
		for lane := range max(2, ts[0].Limits().Lanes) {
			d, a := edges(i, (i+1)%3, 1, lane)
			dialed = append(dialed, openLink(t.Context(), ts[i].Dial, d))
			accepted = append(accepted, openLink(t.Context(), ts[(i+1)%3].Accept, a))
		}
	}
	var all sync.WaitGroup
	defer all.Wait()
	for i := range dialed {
		a, b := take(t, "Dial", dialed[i]), take(t, "Accept", accepted[i])
		all.Go(func() { exchange(t, a, b) })
	}
}
