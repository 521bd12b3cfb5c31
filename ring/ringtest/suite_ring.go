package ringtest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/ringrun/ringrun/ring"
)

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
			rings[i], errs[i] = ring.Open(ctx, ring.Config{Self: peers[i], Peers: peers, Epoch: epoch, Transport: ts[i], Silence: patience})
		})
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	return rings
}
