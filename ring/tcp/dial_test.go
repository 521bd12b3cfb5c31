package tcp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/ringrun/ringrun/ring"
	"github.com/ringrun/ringrun/ring/ringtest"
)

func TestPortTaken(t *testing.T) {
	first := group(t, 1, nil)[0]
	cfg := first.cfg
	cfg.Bind = first.Addr()
	if _, err := Listen(cfg); err == nil || !strings.Contains(err.Error(), first.Addr()) {
		t.Errorf("got %v, want an error that names %s", err, first.Addr())
	}
}

func TestConfigIsChecked(t *testing.T) {
	good := group(t, 1, nil)[0].cfg
	for name, change := range map[string]func(*Config){
		"ID":      func(c *Config) { c.ID = "" },
		"run":     func(c *Config) { c.Run = strings.Repeat("x", 256) },
		"secret":  func(c *Config) { c.Secret = c.Secret[:15] },
		"resolve": func(c *Config) { c.Resolve = nil },
		"frames":  func(c *Config) { c.FrameBytes = ring.MaxBody + 1 },
		"lanes":   func(c *Config) { c.Lanes = -1 },
	} {
		cfg := good
		change(&cfg)
		if tr, err := Listen(cfg); err == nil {
			tr.Close()
			t.Errorf("Listen is content with a bad %s", name)
		} else if !strings.Contains(err.Error(), name) {
			t.Errorf("bad %s: %v", name, err)
		}
	}
}

// TestSeveralAddresses gives p1 four addresses, of which one is right.
func TestSeveralAddresses(t *testing.T) {
	ringtest.CheckLeaks(t)
	var addrs []string
	ts := group(t, 3, func(i int, cfg *Config) {
		cfg.Resolve = func(string) ([]string, error) { return addrs, nil }
	})
	addrs = []string{closedPort(t), ts[2].Addr(), ts[1].Addr(), ts[1].Addr()}
	for epoch := range uint64(20) {
		a, b := connect(t, ts[0], ts[1], epoch+1)
		sendAndReceive(t, a, b)
	}
}

// TestPeerComesLate dials a port that nobody listens on yet.
func TestPeerComesLate(t *testing.T) {
	ringtest.CheckLeaks(t)
	addr := closedPort(t)
	tried := make(chan struct{}, 100)
	p0 := group(t, 1, func(_ int, cfg *Config) {
		cfg.Resolve = func(string) ([]string, error) {
			tried <- struct{}{}
			return []string{addr}, nil
		}
	})[0]
	started := make(chan *Transport, 1)
	go func() {
		<-tried
		<-tried // the first attempt has failed
		cfg := p0.cfg
		cfg.ID, cfg.Bind = "p1", addr
		p1, err := Listen(cfg)
		if err != nil {
			t.Error(err)
			close(started)
			return
		}
		started <- p1
		p1.Accept(t.Context(), ring.Edge{Self: "p1", Peer: "p0", Epoch: 1})
	}()
	if err := dial(t, p0, 1); err != nil {
		t.Error(err)
	}
	if p1 := <-started; p1 != nil {
		p1.Close()
	}
}

func TestDialSaysWhatWentWrong(t *testing.T) {
	addr := closedPort(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	tries := 0
	p0 := group(t, 1, func(_ int, cfg *Config) {
		cfg.Resolve = func(string) ([]string, error) {
			if tries++; tries == 3 {
				cancel()
			}
			return []string{addr}, nil
		}
	})[0]
	_, err := p0.Dial(ctx, ring.Edge{Self: "p0", Peer: "p1", Epoch: 1})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	for _, want := range []string{"p1", addr, "refused"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not mention %q", err, want)
		}
	}
}

// dial lets from dial p1 in the given epoch, until it succeeds or is refused.
func dial(t *testing.T, from *Transport, epoch uint64) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	l, err := from.Dial(ctx, ring.Edge{Self: from.cfg.ID, Peer: "p1", Epoch: epoch})
	if err == nil {
		l.Close()
	}
	return err
}

// TestRefusal: a refusal is final, and has the name of who refuses.
func TestRefusal(t *testing.T) {
	ringtest.CheckLeaks(t)
	ts := group(t, 2, func(i int, cfg *Config) { cfg.Run = fmt.Sprint("run", i) })
	err := dial(t, ts[0], 1)
	want := "tcp: refused by " + ts[1].Addr() + `: you belong to run "run0", this is run "run1"`
	if r, ok := errors.AsType[*RefusedError](err); !ok || r.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// TestLastWordsArrive: a peer sends, closes everything and is gone. Its
// neighbour, which was sending too, reads all of it.
func TestLastWordsArrive(t *testing.T) {
	ringtest.CheckLeaks(t)
	ts := group(t, 2, nil)
	a, b := connect(t, ts[0], ts[1], 1)
	body := make([]byte, 64<<10)
	for range 10 {
		if err := b.Send(ring.Header{Kind: ring.Data, Length: uint32(len(body))}, body); err != nil {
			t.Fatal(err)
		}
	}
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		for range 10 {
			a.Send(ring.Header{Kind: ring.Data, Length: uint32(len(body))}, body)
		}
		a.Close()
		ts[0].Close()
	}()
	if err := ringtest.Receive(b, 10, body); err != nil {
		t.Error(err)
	}
	if _, err := b.Next(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("at the end: %v, want io.ErrUnexpectedEOF", err)
	}
	b.Close()
	<-gone
}

func sendAndReceive(t *testing.T, a, b ring.Link) {
	t.Helper()
	for _, way := range [][2]ring.Link{{a, b}, {b, a}} {
		body := []byte("hello")
		if err := way[0].Send(ring.Header{Kind: ring.Data, Length: uint32(len(body))}, body); err != nil {
			t.Fatal(err)
		}
		if err := ringtest.Receive(way[1], 1, make([]byte, len(body))); err != nil {
			t.Fatal(err)
		}
	}
}

// closedPort returns an address that refuses connections.
func closedPort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}
