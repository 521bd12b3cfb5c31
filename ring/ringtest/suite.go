package ringtest

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"

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
		{"Polling", testPolling},
		{"PollingEnds", testPollingEnds},
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
