package ringtest

import (
	"bytes"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringrun/ringrun/ring"
)

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
	if d := time.Since(begin); d > patience/3 {
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
