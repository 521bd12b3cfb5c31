package ringtest

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/ringrun/ringrun/ring"
)

// testPolling works a link in both directions from one goroutine, which never
// waits but in Await, against a peer that uses Send, Next and Read.
func testPolling(t *testing.T, open func(t testing.TB, n int) []ring.Transport) {
	ts := open(t, 2)
	dialed, b := connect(t, ts, 0, 1, 1, 0)
	a, ok := dialed.(ring.Pollable)
	if !ok {
		t.Skip("links of this transport cannot be polled")
	}
	if _, ok, err := a.Poll(); ok || err != nil {
		t.Fatalf("Poll before anything was sent: %v, %v", ok, err)
	}
	limit := ts[0].Limits().FrameBytes
	frames := 8<<20/limit + 10
	size := func(i int) int { return limit * (i % 4) / 3 }
	peer := background(func() error { return echo(b, frames) })
	finish(t, "polling", background(func() error { return pollEchoes(t, a, frames, size) }))
	finish(t, "echo", peer)
}

// echo sends back every frame that comes. What comes meanwhile has to wait.
func echo(l ring.Link, frames int) error {
	for range frames {
		h, err := l.Next()
		if err != nil {
			return err
		}
		body, err := io.ReadAll(reader{l})
		if err != nil {
			return err
		}
		if err := l.Send(h, body); err != nil {
			return err
		}
	}
	return nil
}

// pollEchoes sends frames as the window allows, and checks what comes back.
func pollEchoes(t *testing.T, l ring.Pollable, frames int, size func(int) int) error {
	sent, begun := 0, false
	var body []byte
	for got := 0; got < frames; {
		if !begun && sent < frames {
			body = pattern(sent, size(sent))
			l.Begin(data(sent, body), body)
			begun = true
		}
		if begun {
			done, err := l.Push(false)
			if err != nil {
				return err
			}
			if done {
				clear(body) // it is not kept any more
				sent, begun = sent+1, false
			}
		}
		h, ok, err := l.Poll()
		if err != nil {
			return err
		}
		if !ok && !begun {
			if err := l.Await(); err != nil {
				return err
			}
		}
		if !ok {
			continue
		}
		if err := pollBody(l, h, got, size(got)); err != nil {
			return err
		}
		got++
	}
	return nil
}

func pollBody(l ring.Pollable, h ring.Header, seq, size int) error {
	body := make([]byte, size)
	for at := 0; at < size; {
		n, err := l.TryRead(body[at:])
		if err != nil {
			return err
		}
		if at += n; n == 0 {
			if err := l.Await(); err != nil {
				return err
			}
		}
	}
	if n, err := l.TryRead(make([]byte, 1)); n != 0 || err != io.EOF {
		return errors.New("more than was sent")
	}
	if int(h.Seq) != seq || int(h.Length) != size || !bytes.Equal(body, pattern(seq, size)) {
		return errors.New("not what was sent")
	}
	return nil
}

// testPollingEnds closes a link while one goroutine waits in Await and a frame
// has been begun that does not fit the window.
func testPollingEnds(t *testing.T, open func(t testing.TB, n int) []ring.Transport) {
	ts := open(t, 2)
	dialed, accepted := connect(t, ts, 0, 1, 1, 0)
	a, ok := dialed.(ring.Pollable)
	if !ok {
		t.Skip("links of this transport cannot be polled")
	}
	if _, ok, err := a.Poll(); ok || err != nil { // until then Await may return too early
		t.Fatalf("Poll before anything was sent: %v, %v", ok, err)
	}
	awaits := background(a.Await)
	body := make([]byte, ts[0].Limits().FrameBytes)
	stuck := false
	for sent := 0; !stuck; sent += len(body) {
		if sent > 256<<20 {
			t.Fatal("256 MiB sent to a peer that reads nothing: there is no window")
		}
		a.Begin(data(0, body), body)
		for tries, done := 0, false; !done && !stuck; tries++ {
			var err error
			if done, err = a.Push(false); err != nil {
				t.Fatal(err)
			}
			if stuck = tries == 100; !done {
				<-time.After(time.Millisecond)
			}
		}
	}
	pushes := background(func() error {
		_, err := a.Push(true)
		return err
	})
	a.Close()
	for _, c := range []<-chan error{awaits, pushes} {
		if err := outcome(t, "call on a closed link", c); !errors.Is(err, net.ErrClosed) {
			t.Errorf("got %v, want net.ErrClosed", err)
		}
	}
	if _, _, err := a.Poll(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Poll on a closed link: %v, want net.ErrClosed", err)
	}
	b := accepted.(ring.Pollable)
	b.Close()
	if _, err := b.TryRead(body); !errors.Is(err, net.ErrClosed) {
		t.Errorf("TryRead on a closed link: %v, want net.ErrClosed", err)
	}
}
