package ringtest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringrun/ringrun/ring"
)

// TestTransport is the suite that every transport must pass. open returns the
// transports of n peers named p0, p1, …, which reach each other; it closes them
// with the test.
func TestTransport(t *testing.T, open func(t testing.TB, n int) []ring.Transport) {
	for _, c := range []struct {
		name string
		run  func(t *testing.T, open func(t testing.TB, n int) []ring.Transport)
	}{
		{"Limits", testLimits},
		{"Order", testOrder},
		{"Sizes", testSizes},
		{"FullDuplex", testFullDuplex},
		{"CloseUnblocks", testCloseUnblocks},
		{"CloseDelivers", testCloseDelivers},
		{"CloseIsSeen", testCloseIsSeen},
		{"DialWaitsForAccept", testDialWaits},
		{"AcceptWaitsForDial", testAcceptWaits},
		{"ContextEnds", testContextEnds},
		{"WrongEdge", testWrongEdge},
		{"Stranger", testStranger},
		{"BothWays", testBothWays},
		{"Lanes", testLanes},
		{"TransportClose", testTransportClose},
		{"Ring", testRing},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, open) })
	}
}

func testLimits(t *testing.T, open func(t testing.TB, n int) []ring.Transport) {
	l := open(t, 1)[0].Limits()
	if l.FrameBytes < 4096 || l.FrameBytes > ring.MaxBody || l.Lanes < 1 {
		t.Errorf("limits %+v: want frames of 4096 to %d bytes, and a lane", l, ring.MaxBody)
	}
}

// testOrder sends frames of random sizes; the receiver reads of each as much as
// it likes.
func testOrder(t *testing.T, open func(t testing.TB, n int) []ring.Transport) {
	ts := open(t, 2)
	a, b := connect(t, ts, 0, 1, 1, 0)
	const frames = 2000
	sent := background(func() error {
		rnd := rand.New(rand.NewPCG(1, 2))
		for i := range frames {
			body := pattern(i, rnd.IntN(2000))
			if err := a.Send(data(i, body), body); err != nil {
				return err
			}
		}
		return nil
	})
	rnd := rand.New(rand.NewPCG(3, 4))
	got := background(func() error {
		for i := range frames {
			h, err := b.Next()
			if err != nil {
				return err
			}
			part := make([]byte, rnd.IntN(int(h.Length)+1))
			if _, err := io.ReadFull(reader{b}, part); err != nil {
				return err
			}
			if int(h.Seq) != i || !bytes.Equal(part, pattern(i, int(h.Length))[:len(part)]) {
				t.Errorf("frame %d: header %+v, or its first %d bytes, are not what was sent", i, h, len(part))
			}
		}
		return nil
	})
	finish(t, "sender", sent)
	finish(t, "receiver", got)
}

func testSizes(t *testing.T, open func(t testing.TB, n int) []ring.Transport) {
	ts := open(t, 2)
	a, b := connect(t, ts, 0, 1, 1, 0)
	limit := ts[0].Limits().FrameBytes
	sizes := []int{0, 1, ring.HeaderBytes - 1, ring.HeaderBytes, 1000, 4095, 4096, limit - 1, limit, 0, 3}
	sent := background(func() error {
		for i, n := range sizes {
			body := pattern(i, n)
			h := ring.Header{Kind: ring.Data, Codec: 1, Type: 2, Op: 3, Step: 4, Epoch: 1 << 60, Seq: uint32(i),
				Length: uint32(n), Count: 1 << 50, Offset: 1 << 40, Root: 1 << 30}
			if err := a.Send(h, body); err != nil {
				return err
			}
			clear(body) // Send must not have kept it
		}
		return nil
	})
	finish(t, "receiver", background(func() error {
		for i, n := range sizes {
			h, err := b.Next()
			if err != nil {
				return err
			}
			want := ring.Header{Kind: ring.Data, Codec: 1, Type: 2, Op: 3, Step: 4, Epoch: 1 << 60, Seq: uint32(i),
				Length: uint32(n), Count: 1 << 50, Offset: 1 << 40, Root: 1 << 30}
			if h != want {
				t.Errorf("got header %+v, want %+v", h, want)
			}
			body, err := io.ReadAll(reader{b})
			if err != nil {
				return err
			}
			if !bytes.Equal(body, pattern(i, n)) {
				t.Errorf("frame of %d bytes: %d bytes arrived, or others", n, len(body))
			}
			if k, err := b.Read(make([]byte, 1)); k != 0 || err != io.EOF {
				t.Errorf("Read after the end of the body = %d, %v; want 0, EOF", k, err)
			}
		}
		return nil
	}))
	finish(t, "sender", sent)
}

// testFullDuplex lets both ends send more than any buffer holds, at once.
func testFullDuplex(t *testing.T, open func(t testing.TB, n int) []ring.Transport) {
	ts := open(t, 2)
	a, b := connect(t, ts, 0, 1, 1, 0)
	limit := ts[0].Limits().FrameBytes
	frames := 16<<20/limit + 1
	var jobs []<-chan error
	for i, l := range []ring.Link{a, b} {
		mine, theirs := pattern(i, limit), pattern(1-i, limit)
		jobs = append(jobs, background(func() error {
			for k := range frames {
				if err := l.Send(data(k, mine), mine); err != nil {
					return err
				}
			}
			return nil
		}), background(func() error {
			buf := make([]byte, limit)
			for k := range frames {
				h, err := l.Next()
				if err != nil {
					return err
				}
				if _, err := io.ReadFull(reader{l}, buf[:h.Length]); err != nil {
					return err
				}
				if int(h.Seq) != k || !bytes.Equal(buf[:h.Length], theirs) {
					return errors.New("not what was sent")
				}
			}
			return nil
		}))
	}
	for _, j := range jobs {
		finish(t, "full duplex", j)
	}
}

// testCloseUnblocks closes a link while one goroutine waits for a frame and one
// for the window.
func testCloseUnblocks(t *testing.T, open func(t testing.TB, n int) []ring.Transport) {
	ts := open(t, 2)
	a, _ := connect(t, ts, 0, 1, 1, 0)
	var sent atomic.Int64
	body := make([]byte, ts[0].Limits().FrameBytes)
	sender := background(func() error {
		for {
			if err := a.Send(data(0, body), body); err != nil {
				return err
			}
			sent.Add(int64(len(body)))
		}
	})
	receiver := background(func() error {
		_, err := a.Next()
		return err
	})
	for last := int64(-1); sent.Load() != last; { // until the window is full
		if last = sent.Load(); last > 256<<20 {
			t.Fatal("256 MiB sent to a peer that reads nothing: there is no window")
		}
		<-time.After(200 * time.Millisecond)
	}
	begin := time.Now()
	a.Close()
	a.Close() // once more does no harm
	for _, c := range []<-chan error{sender, receiver} {
		if err := outcome(t, "call on a closed link", c); !errors.Is(err, net.ErrClosed) {
			t.Errorf("got %v, want net.ErrClosed", err)
		}
	}
	if d := time.Since(begin); d > time.Second {
		t.Errorf("Close woke them after %v", d)
	}
	if err := a.Send(data(0, nil), nil); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Send on a closed link: %v, want net.ErrClosed", err)
	}
	if _, err := a.Next(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Next on a closed link: %v, want net.ErrClosed", err)
	}
	if _, err := a.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Read on a closed link: %v, want net.ErrClosed", err)
	}
}

// testCloseDelivers closes a link right after sending on it, while the other
// end sends too.
func testCloseDelivers(t *testing.T, open func(t testing.TB, n int) []ring.Transport) {
	ts := open(t, 2)
	a, b := connect(t, ts, 0, 1, 1, 0)
	const frames = 20
	body := pattern(7, min(ts[0].Limits().FrameBytes, 16<<10))
	for i := range frames { // not read by a: to throw that away must not harm
		if err := b.Send(data(i, nil), nil); err != nil {
			t.Fatal(err)
		}
	}
	sent := background(func() error {
		for i := range frames {
			if err := a.Send(data(i, body), body); err != nil {
				return err
			}
		}
		return a.Close()
	})
	finish(t, "receiver", background(func() error {
		for i := range frames {
			h, err := b.Next()
			if err != nil {
				t.Errorf("after %d of %d frames", i, frames)
				return err
			}
			if got, err := io.ReadAll(reader{b}); err != nil || int(h.Seq) != i || !bytes.Equal(got, body) {
				t.Errorf("frame %d: %d bytes, seq %d, %v", i, len(got), h.Seq, err)
			}
		}
		return nil
	}))
	finish(t, "sender", sent)
}

func testCloseIsSeen(t *testing.T, open func(t testing.TB, n int) []ring.Transport) {
	ts := open(t, 2)
	a, b := connect(t, ts, 0, 1, 1, 0)
	next := background(func() error {
		_, err := b.Next()
		return err
	})
	a.Close()
	if err := outcome(t, "Next", next); err == nil || errors.Is(err, net.ErrClosed) {
		t.Errorf("Next, when the other end has closed: %v, want an error other than net.ErrClosed", err)
	}
	b.Close()
}

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
		if d := time.Since(begin); d > 2*time.Second {
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

// testTransportClose: pending calls end, later ones fail, links live on.
func testTransportClose(t *testing.T, open func(t testing.TB, n int) []ring.Transport) {
	ts := open(t, 2)
	a, b := connect(t, ts, 0, 1, 1, 0)
	dial, accept := edges(0, 1, 2, 0)
	accept.Self, accept.Peer = "p0", "p1"
	pending := []<-chan opened{
		openLink(t.Context(), ts[0].Dial, dial),
		openLink(t.Context(), ts[0].Accept, accept),
	}
	if err := ts[0].Close(); err != nil {
		t.Error(err)
	}
	pending = append(pending, openLink(t.Context(), ts[0].Dial, dial), openLink(t.Context(), ts[0].Accept, accept))
	for _, c := range pending {
		if r := wait(t, "a call on a closed transport", c); !errors.Is(r.err, net.ErrClosed) {
			t.Errorf("got %v, want net.ErrClosed", r.err)
		}
	}
	exchange(t, a, b)
}

func testRing(t *testing.T, open func(t testing.TB, n int) []ring.Transport) {
	ts := open(t, 3)
	for epoch := uint64(1); epoch <= 2; epoch++ {
		rings := openRings(t, ts, epoch)
		for i, r := range rings {
			for _, l := range r.Lanes() {
				if err := l.Send(ring.Header{Seq: uint32(i)}, pattern(i, 1000)); err != nil {
					t.Fatal(err)
				}
			}
		}
		for i, r := range rings {
			from := (i + 2) % 3
			for _, l := range r.Lanes() {
				h, err := l.Next()
				if err != nil {
					t.Fatal(err)
				}
				body := make([]byte, h.Length)
				if _, err := io.ReadFull(l, body); err != nil || int(h.Seq) != from || !bytes.Equal(body, pattern(from, 1000)) {
					t.Errorf("p%d: got %+v, %v, or a body that p%d did not send", i, h, err, from)
				}
			}
		}
		if epoch == 1 {
			failRings(t, rings)
		}
		for _, r := range rings {
			r.Close()
		}
	}
}

func failRings(t *testing.T, rings []*ring.Ring) {
	t.Helper()
	rings[1].Fail(7, "as agreed")
	for i, r := range rings {
		select {
		case <-r.Done():
		case <-time.After(patience):
			t.Fatalf("p%d does not know that p1 broke the ring", i)
		}
		why, ok := errors.AsType[*ring.AbortError](r.Err())
		if want := (ring.AbortError{Peer: "p1", Code: 7, Text: "as agreed"}); !ok || *why != want {
			t.Errorf("p%d: %v, want %v", i, r.Err(), &want)
		}
	}
}

func openRings(t *testing.T, ts []ring.Transport, epoch uint64) []*ring.Ring {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var peers []string
	for i := range ts {
		peers = append(peers, name(i))
	}
	rings, errs := make([]*ring.Ring, len(ts)), make([]error, len(ts))
	var all sync.WaitGroup
	for i := range ts {
		all.Go(func() {
			rings[i], errs[i] = ring.Open(ctx, ring.Config{Self: peers[i], Peers: peers, Epoch: epoch, Transport: ts[i]})
		})
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	return rings
}
