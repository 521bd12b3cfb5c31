package ringtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/ringrun/ringrun/ring"
)

// patience is how long the suite waits for what should take milliseconds.
const patience = 30 * time.Second

func name(i int) string { return fmt.Sprintf("p%d", i) }

// edges returns the link from peer i to peer j as either end names it.
func edges(i, j int, epoch uint64, lane int) (dial, accept ring.Edge) {
	return ring.Edge{Self: name(i), Peer: name(j), Epoch: epoch, Lane: lane},
		ring.Edge{Self: name(j), Peer: name(i), Epoch: epoch, Lane: lane}
}

type opened struct {
	link ring.Link
	err  error
}

func openLink(ctx context.Context, f func(context.Context, ring.Edge) (ring.Link, error), e ring.Edge) <-chan opened {
	c := make(chan opened, 1)
	go func() {
		l, err := f(ctx, e)
		c <- opened{l, err}
	}()
	return c
}

func wait(t testing.TB, what string, c <-chan opened) opened {
	t.Helper()
	select {
	case r := <-c:
		return r
	case <-time.After(patience):
		t.Fatalf("%s has not returned after %v", what, patience)
		panic("unreachable")
	}
}

// take waits for a link, which is closed with the test.
func take(t testing.TB, what string, c <-chan opened) ring.Link {
	t.Helper()
	r := wait(t, what, c)
	if r.err != nil {
		t.Fatalf("%s: %v", what, r.err)
	}
	t.Cleanup(func() { r.link.Close() })
	return r.link
}

// connect opens a link from peer i to peer j and returns both ends.
func connect(t testing.TB, ts []ring.Transport, i, j int, epoch uint64, lane int) (dialed, accepted ring.Link) {
	t.Helper()
	dial, _ := edges(i, j, epoch, lane)
	return Connect(t, ts[i], ts[j], dial)
}

// exchange sends a frame each way. It may run beside the test's goroutine.
func exchange(t testing.TB, a, b ring.Link) {
	t.Helper()
	for i, way := range [][2]ring.Link{{a, b}, {b, a}} {
		body := pattern(i, 3000)
		sent := background(func() error { return way[0].Send(data(i, body), body) })
		if h, err := way[1].Next(); err != nil || int(h.Seq) != i {
			t.Errorf("Next: %+v, %v", h, err)
			return
		}
		if got, err := io.ReadAll(reader{way[1]}); err != nil || !bytes.Equal(got, body) {
			t.Errorf("body: %d bytes, %v; want %d others", len(got), err, len(body))
		}
		if err := <-sent; err != nil {
			t.Error(err)
		}
	}
}

func background(f func() error) <-chan error {
	c := make(chan error, 1)
	go func() { c <- f() }()
	return c
}

func outcome(t testing.TB, what string, c <-chan error) error {
	t.Helper()
	select {
	case err := <-c:
		return err
	case <-time.After(patience):
		t.Fatalf("%s has not returned after %v", what, patience)
		return errors.New("unreachable")
	}
}

func finish(t testing.TB, what string, c <-chan error) {
	t.Helper()
	if err := outcome(t, what, c); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// reader is the body of a link as an io.Reader.
type reader struct{ link ring.Link }

func (r reader) Read(p []byte) (int, error) { return r.link.Read(p) }

func data(seq int, body []byte) ring.Header {
	return ring.Header{Kind: ring.Data, Epoch: 1, Seq: uint32(seq), Length: uint32(len(body))}
}

// pattern returns n bytes that differ for every i, and shift when bytes are lost.
func pattern(i, n int) []byte {
	b := make([]byte, n)
	for k := range b {
		b[k] = byte(k + k>>8*7 + i*13)
	}
	return b
}
