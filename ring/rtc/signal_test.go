package rtc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// soon is long for what should happen at once, on a busy machine.
const soon = 15 * time.Second

// A man in the middle of the signals cannot put himself in the middle of the
// link: who does not hold the certificate does not get it.
func TestWrongFingerprint(t *testing.T) {
	for _, kind := range []string{kindOffer, kindAnswer} {
		t.Run(kind, func(t *testing.T) {
			leakCheck(t)
			w := newWire()
			a, b := w.peer(t, "a"), w.peer(t, "b")
			w.setAlter(func(m message) (message, bool) {
				if m.Kind == kind {
					i := strings.Index(m.SDP, "sha-256 ") + len("sha-256 ")
					digit := map[bool]string{true: "1", false: "0"}[m.SDP[i] == '0']
					m.SDP = m.SDP[:i] + digit + m.SDP[i+1:]
				}
				return m, true
			})
			ctx, cancel := context.WithCancel(testContext(t, 4*soon))
			defer cancel()
			accepted := accept(ctx, b, "a", 1, 0)
			dialed := <-dial(ctx, a, "b", 1, 0)
			if dialed.err == nil {
				t.Fatal("Dial: no error")
			}
			if ctx.Err() != nil || !strings.Contains(dialed.err.Error(), errCertificate.Error()) {
				t.Errorf("Dial: %v; want %q", dialed.err, errCertificate)
			}
			if errors.Is(dialed.err, errCertificate) != (kind == kindAnswer) {
				t.Errorf("Dial: %v; who finds out is whom the wrong %s came to", dialed.err, kind)
			}
			// Accept waits for a better offer.
			w.setAlter(nil)
			d := dial(ctx, a, "b", 1, 0)
			l := (<-d).must(t)
			send(t, l, 9, []byte("it is me"))
			if h, _ := recv(t, (<-accepted).must(t)); h.Seq != 9 {
				t.Errorf("got seq %d, want 9", h.Seq)
			}
		})
	}
}

// A peer that is late is told so, before or after the others have moved on.
func TestOldEpoch(t *testing.T) {
	leakCheck(t)
	w := newWire()
	a, b := w.peer(t, "a"), w.peer(t, "b")
	ctx := testContext(t, 4*soon)

	early := dial(ctx, a, "b", 4, 0)
	waitFor(t, "the offer to arrive", func() bool {
		b.mail.mu.Lock()
		defer b.mail.mu.Unlock()
		return len(b.mail.early) == 1
	})
	waiting := accept(ctx, b, "a", 5, 0)
	if o := <-early; !errors.Is(o.err, errRefused) {
		t.Errorf("Dial in epoch 4: %v, want errRefused", o.err)
	}
	if o := <-dial(ctx, a, "b", 4, 0); !errors.Is(o.err, errRefused) {
		t.Errorf("Dial in epoch 4 again: %v, want errRefused", o.err)
	}
	d := dial(ctx, a, "b", 5, 0)
	(<-d).must(t)
	(<-waiting).must(t)
}

// The answer to a first attempt is lost, and so is the news that its dialler
// gave up. The second attempt must not wait for the first.
func TestNewerOffer(t *testing.T) {
	leakCheck(t)
	w := newWire()
	a, b := w.peer(t, "a"), w.peer(t, "b")
	ctx := testContext(t, 4*soon)
	var offers atomic.Int32
	answered := make(chan struct{}, 2)
	w.setAlter(func(m message) (message, bool) {
		switch m.Kind {
		case kindOffer:
			offers.Add(1)
			return m, true
		case kindAnswer:
			answered <- struct{}{}
		}
		return m, offers.Load() > 1
	})
	accepted := accept(ctx, b, "a", 1, 0)
	first, cancel := context.WithCancel(ctx)
	lost := dial(first, a, "b", 1, 0)
	<-answered
	cancel()
	if o := <-lost; !errors.Is(o.err, context.Canceled) {
		t.Fatalf("cancelled Dial: %v", o.err)
	}
	start := time.Now()
	d := dial(ctx, a, "b", 1, 0)
	l := (<-d).must(t)
	send(t, l, 2, nil)
	if h, _ := recv(t, (<-accepted).must(t)); h.Seq != 2 {
		t.Errorf("got seq %d, want 2", h.Seq)
	}
	if d := time.Since(start); d > soon {
		t.Errorf("the second attempt took %v", d)
	}
}

// Dial ends when the acceptor says so; Accept when its context ends.
func TestCancelledAccept(t *testing.T) {
	leakCheck(t)
	w := newWire()
	a, b := w.peer(t, "a"), w.peer(t, "b")
	ctx := testContext(t, 4*soon)
	short, cancel := context.WithCancel(ctx)
	defer cancel()
	w.setAlter(func(m message) (message, bool) {
		if m.Kind == kindAnswer { // so there was an offer: it is lost, and b gives up
			cancel()
		}
		return m, m.Kind != kindAnswer
	})
	d := dial(ctx, a, "b", 1, 0)
	if o := <-accept(short, b, "a", 1, 0); !errors.Is(o.err, context.Canceled) {
		t.Errorf("Accept: %v, want context.Canceled", o.err)
	}
	if o := <-d; !errors.Is(o.err, errRefused) {
		t.Errorf("Dial: %v, want errRefused", o.err)
	}
}

// Signals that are garbage, forged or for nobody change nothing.
func TestGarbage(t *testing.T) {
	leakCheck(t)
	w := newWire()
	a, b := w.peer(t, "a"), w.peer(t, "b")
	ctx := testContext(t, 4*soon)
	accepted := accept(ctx, b, "a", 1, 0)
	e := edge{"a", "b", 1, 0}
	nobody := newSession()
	for _, s := range []signal{
		{"a", nil},
		{"a", []byte("hello")},
		{"a", make([]byte, 1<<20)},
		{"c", message{Kind: kindOffer, Session: nobody, edge: e, SDP: "v=0"}.encode()},  // not the dialler
		{"b", message{Kind: kindOffer, Session: nobody, edge: e, SDP: "v=0"}.encode()},  // not even another peer
		{"a", message{Kind: kindAnswer, Session: nobody, edge: e, SDP: "v=0"}.encode()}, // answers itself
		{"a", message{Kind: kindEnd, Session: nobody, edge: e}.encode()},                // of no session
		{"a", message{Kind: kindOffer, Session: nobody, edge: e, SDP: "v=0"}.encode()},  // no description
		{"c", message{Kind: kindAnswer, Session: nobody, edge: edge{"b", "c", 1, 0}, SDP: "v=0"}.encode()},
	} {
		select {
		case w.box("b") <- s:
		case <-ctx.Done():
			t.Fatal("b does not read signals any more")
		}
	}
	d := dial(ctx, a, "b", 1, 0)
	l := (<-d).must(t)
	send(t, l, 1, []byte("after all"))
	recv(t, (<-accepted).must(t))
}

// Offers that nobody accepts do not pile up.
func TestFlood(t *testing.T) {
	b := newMailbox()
	for i := range 2 * maxEarly {
		m := message{Kind: kindOffer, Session: newSession(), edge: edge{"a", "b", uint64(i + 1), 0}, SDP: "v=0"}
		if refusal := b.put(m); (refusal != "") != (i >= maxEarly) {
			t.Fatalf("offer %d: %q", i, refusal)
		}
	}
	if old := b.reach(maxEarly); len(old) != maxEarly-1 || len(b.early) != 1 {
		t.Errorf("%d offers were old and %d are left, want %d and 1", len(old), len(b.early), maxEarly-1)
	}
}

// broken is a Signaler that cannot send, or cannot receive.
type broken struct {
	Signaler
	send, receive error
}

func (b broken) Send(ctx context.Context, to string, data []byte) error {
	if b.send != nil {
		return b.send
	}
	return b.Signaler.Send(ctx, to, data)
}

func (b broken) Receive(ctx context.Context) (string, []byte, error) {
	if b.receive != nil {
		return "", nil, b.receive
	}
	return b.Signaler.Receive(ctx)
}

func TestBrokenSignaler(t *testing.T) {
	fault := errors.New("no such peer")
	for name, s := range map[string]broken{
		"send":    {Signaler: post{newWire(), "a"}, send: fault},
		"receive": {Signaler: post{newWire(), "a"}, receive: fault},
	} {
		t.Run(name, func(t *testing.T) {
			leakCheck(t)
			tr, err := New(Config{ID: "a", Signal: s, Loopback: true})
			if err != nil {
				t.Fatal(err)
			}
			defer tr.Close()
			ctx := testContext(t, 4*soon)
			if o := <-dial(ctx, tr, "b", 1, 0); !errors.Is(o.err, fault) || ctx.Err() != nil {
				t.Errorf("Dial: %v, want %v", o.err, fault)
			}
		})
	}
}

// Edges that cannot be.
func TestWrongEdges(t *testing.T) {
	leakCheck(t)
	a := newWire().peer(t, "a")
	ctx := testContext(t, soon)
	for _, tt := range []struct {
		peer string
		lane int
	}{{"", 0}, {"a", 0}, {strings.Repeat("b", maxID+1), 0}, {"b", -1}, {"b", maxLane}} {
		for what, open := range map[string]func(context.Context, *Transport, string, uint64, int) <-chan opened{"Dial": dial, "Accept": accept} {
			if o := <-open(ctx, a, tt.peer, 1, tt.lane); o.err == nil || ctx.Err() != nil {
				t.Errorf("%s(%.10q, lane %d): %v, want an error at once", what, tt.peer, tt.lane, o.err)
			}
		}
	}
	again := accept(ctx, a, "b", 1, 0)
	waitFor(t, "Accept", func() bool {
		a.mail.mu.Lock()
		defer a.mail.mu.Unlock()
		return len(a.mail.waiting) == 1
	})
	if o := <-accept(ctx, a, "b", 1, 0); o.err == nil || ctx.Err() != nil {
		t.Errorf("a second Accept of one edge: %v, want an error at once", o.err)
	}
	a.Close()
	if o := <-again; !errors.Is(o.err, net.ErrClosed) {
		t.Errorf("Accept on a transport that is closed: %v", o.err)
	}
}

// Many links open and close, as epochs come and go; some while they open.
func TestChurn(t *testing.T) {
	leakCheck(t)
	w := newWire()
	a, b := w.peer(t, "a"), w.peer(t, "b")
	for epoch := range uint64(20) {
		ctx, cancel := context.WithTimeout(context.Background(), 4*soon)
		if epoch%2 == 1 { // the dialler changes its mind somewhere on the way
			ctx, cancel = context.WithTimeout(context.Background(), time.Duration(epoch)*3*time.Millisecond)
		}
		d, c := dial(ctx, a, "b", epoch+1, 0), accept(ctx, b, "a", epoch+1, 0)
		for _, o := range []opened{<-d, <-c} {
			if o.err == nil {
				o.link.Close()
			} else if epoch%2 == 0 {
				t.Error(fmt.Errorf("epoch %d: %w", epoch+1, o.err))
			}
		}
		cancel()
	}
}
