package rtc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ringrun/ringrun/ring"
)

// wire is a signalling network in memory.
type wire struct {
	mu    sync.Mutex
	boxes map[string]chan signal
	alter func(m message) (message, bool) // if set: changes or drops a message
}

type signal struct {
	from string
	data []byte
}

// post is where one peer meets the wire. It implements Signaler.
type post struct {
	wire *wire
	self string
}

func newWire() *wire { return &wire{boxes: make(map[string]chan signal)} }

func (w *wire) box(id string) chan signal {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.boxes[id] == nil {
		w.boxes[id] = make(chan signal)
	}
	return w.boxes[id]
}

func (w *wire) setAlter(f func(m message) (message, bool)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.alter = f
}

func (p post) Send(ctx context.Context, to string, data []byte) error {
	p.wire.mu.Lock()
	alter := p.wire.alter
	p.wire.mu.Unlock()
	if alter != nil {
		m, err := parseMessage(data)
		if err != nil {
			return err
		}
		m, pass := alter(m)
		if !pass {
			return nil
		}
		data = m.encode()
	}
	select {
	case p.wire.box(to) <- signal{p.self, data}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p post) Receive(ctx context.Context) (string, []byte, error) {
	select {
	case s := <-p.wire.box(p.self):
		return s.from, s.data, nil
	case <-ctx.Done():
		return "", nil, ctx.Err()
	}
}

// peer starts a transport that is closed, with all its goroutines, at the end.
func (w *wire) peer(t testing.TB, id string) *Transport {
	t.Helper()
	tr, err := New(Config{ID: id, Signal: post{w, id}, Loopback: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tr.Close() })
	return tr
}

// leakCheck fails the test if goroutines that it starts outlive it for long.
// Call it before anything else.
func leakCheck(t testing.TB) {
	t.Helper()
	before := runtime.NumGoroutine()
	t.Cleanup(func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		deadline := time.After(patience)
		for runtime.NumGoroutine() > before {
			select {
			case <-tick.C:
			case <-deadline:
				buf := make([]byte, 1<<20)
				t.Errorf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, buf[:runtime.Stack(buf, true)])
				return
			}
		}
	})
}

func testContext(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

type opened struct {
	link ring.Link
	err  error
}

func dial(ctx context.Context, t *Transport, peer string, epoch uint64, lane int) <-chan opened {
	c := make(chan opened, 1)
	go func() {
		l, err := t.Dial(ctx, ring.Edge{Self: t.cfg.ID, Peer: peer, Epoch: epoch, Lane: lane})
		c <- opened{l, err}
	}()
	return c
}

func accept(ctx context.Context, t *Transport, peer string, epoch uint64, lane int) <-chan opened {
	c := make(chan opened, 1)
	go func() {
		l, err := t.Accept(ctx, ring.Edge{Self: t.cfg.ID, Peer: peer, Epoch: epoch, Lane: lane})
		c <- opened{l, err}
	}()
	return c
}

func (o opened) must(t testing.TB) ring.Link {
	t.Helper()
	if o.err != nil {
		t.Fatal(o.err)
	}
	t.Cleanup(func() { o.link.Close() })
	return o.link
}

// pair opens a link from a to b.
func pair(t testing.TB, a, b *Transport, epoch uint64, lane int) (from, to ring.Link) {
	t.Helper()
	ctx := testContext(t, patience)
	d, c := dial(ctx, a, b.cfg.ID, epoch, lane), accept(ctx, b, a.cfg.ID, epoch, lane)
	return (<-d).must(t), (<-c).must(t)
}

func send(t testing.TB, l ring.Link, seq uint32, body []byte) {
	t.Helper()
	if err := l.Send(ring.Header{Kind: ring.Data, Seq: seq, Length: uint32(len(body))}, body); err != nil {
		t.Fatal(err)
	}
}

func recv(t testing.TB, l ring.Link) (ring.Header, []byte) {
	t.Helper()
	h, err := l.Next()
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(readerFunc(l.Read))
	if err != nil {
		t.Fatal(err)
	}
	return h, body
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// How long it takes until an edge of four lanes is up, both ways at once, as
// when a ring of two peers opens.
func TestOpensQuickly(t *testing.T) {
	leakCheck(t)
	w := newWire()
	a, b := w.peer(t, "a"), w.peer(t, "b")
	ctx := testContext(t, patience)
	start := time.Now()
	var all []<-chan opened
	for lane := range 4 {
		all = append(all,
			dial(ctx, a, "b", 1, lane), accept(ctx, b, "a", 1, lane),
			dial(ctx, b, "a", 1, lane), accept(ctx, a, "b", 1, lane))
	}
	var links []ring.Link
	for _, c := range all {
		links = append(links, (<-c).must(t))
	}
	t.Logf("8 links after %v", time.Since(start))
	for i := 0; i < len(links); i += 2 { // dialled, accepted
		seq := uint32(i)
		send(t, links[i], seq, nil)
		send(t, links[i+1], seq+1, nil)
		if h, _ := recv(t, links[i+1]); h.Seq != seq {
			t.Errorf("link %d is crossed: got %d, want %d", i, h.Seq, seq)
		}
		if h, _ := recv(t, links[i]); h.Seq != seq+1 {
			t.Errorf("link %d is crossed: got %d, want %d", i, h.Seq, seq+1)
		}
	}
	if d := time.Since(start); d > soon {
		t.Errorf("took %v", d)
	}
}

// A reader that pauses stops the sender, which goes on without delay after it.
func TestPausedReader(t *testing.T) {
	leakCheck(t)
	w := newWire()
	a, b := pair(t, w.peer(t, "a"), w.peer(t, "b"), 1, 0)
	l := a.(*link)
	const frames = creditBytes/frameBytes + 10
	sent := make(chan error, 1)
	go func() {
		body := make([]byte, frameBytes)
		for range frames {
			if err := a.Send(ring.Header{Kind: ring.Data, Length: frameBytes}, body); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	waitFor(t, "the sender to have no credit", func() bool {
		l.out.mu.Lock()
		defer l.out.mu.Unlock()
		return l.out.credit < ring.HeaderBytes+frameBytes
	})
	// That SCTP has acknowledged all of it shows that its own window is open.
	waitFor(t, "all of it to arrive", func() bool { return l.conn.data.BufferedAmount() == 0 })
	for range frames {
		recv(t, b)
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
}

// patience is for what must happen, however busy the machine is.
const patience = time.Minute

func waitFor(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// What was sent before Close arrives; then the other side sees the end at once.
func TestCloseDelivers(t *testing.T) {
	leakCheck(t)
	w := newWire()
	a, b := pair(t, w.peer(t, "a"), w.peer(t, "b"), 1, 0)
	const frames = creditBytes / (ring.HeaderBytes + frameBytes) // nobody reads yet
	for i := range frames {
		send(t, a, uint32(i), make([]byte, frameBytes))
	}
	a.Close()
	if err := a.Send(ring.Header{Kind: ring.Data}, nil); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Send after Close: %v, want net.ErrClosed", err)
	}
	for i := range frames {
		if h, body := recv(t, b); h.Seq != uint32(i) || len(body) != frameBytes {
			t.Fatalf("frame %d: seq %d, %d bytes", i, h.Seq, len(body))
		}
	}
	if _, err := b.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("Next after the peer's Close: %v, want io.EOF", err)
	}
	if err := b.Send(ring.Header{Kind: ring.Data}, nil); err == nil {
		t.Error("Send after the peer's Close: no error")
	}
}

// Closing wakes whoever waits, on this side and on the other: a waits for
// frames and for credit, b for credit.
func TestCloseWakes(t *testing.T) {
	leakCheck(t)
	w := newWire()
	ta, tb := w.peer(t, "a"), w.peer(t, "b")
	ta.linger, tb.linger = patience, patience
	a, b := pair(t, ta, tb, 1, 0)
	type end struct {
		who string
		err error
		at  time.Time
	}
	ends := make(chan end, 3)
	for _, l := range []*link{a.(*link), b.(*link)} {
		l.out.mu.Lock()
		l.out.credit = nearFlight // so that it does not take long to use up
		l.out.mu.Unlock()
		go func() {
			body := make([]byte, frameBytes)
			for {
				if err := l.Send(ring.Header{Kind: ring.Data, Length: frameBytes}, body); err != nil {
					ends <- end{l.edge.Self, err, time.Now()}
					return
				}
			}
		}()
		waitFor(t, "a full window", func() bool {
			l.out.mu.Lock()
			defer l.out.mu.Unlock()
			return l.out.credit < frameBytes+ring.HeaderBytes
		})
	}
	go func() {
		for {
			if _, err := a.Next(); err != nil {
				ends <- end{"a", err, time.Now()}
				return
			}
		}
	}()
	start := time.Now()
	a.Close()
	for range 3 {
		e := <-ends
		if e.who == "a" && !errors.Is(e.err, net.ErrClosed) {
			t.Errorf("a: %v, want net.ErrClosed", e.err)
		}
		if d := e.at.Sub(start); d > soon { // long before the connection closes anyway
			t.Errorf("%s woke after %v: %v", e.who, d, e.err)
		}
	}
}

// Closing both ends at once leaves nothing behind, and does not wait long.
func TestCloseBoth(t *testing.T) {
	leakCheck(t)
	w := newWire()
	ta, tb := w.peer(t, "a"), w.peer(t, "b")
	ta.linger, tb.linger = patience, patience
	a, b := pair(t, ta, tb, 1, 0)
	send(t, a, 1, make([]byte, frameBytes))
	send(t, b, 1, make([]byte, frameBytes))
	start := time.Now()
	a.Close()
	b.Close()
	ta.Close()
	tb.Close()
	if d := time.Since(start); d > soon {
		t.Errorf("took %v", d)
	}
}

func TestConfig(t *testing.T) {
	w := newWire()
	for _, cfg := range []Config{
		{Signal: post{w, "a"}},
		{ID: strings.Repeat("a", maxID+1), Signal: post{w, "a"}},
		{ID: "a"},
		{ID: "a", Signal: post{w, "a"}, Lanes: -1},
		{ID: "a", Signal: post{w, "a"}, Lanes: maxLanes + 1},
	} {
		if tr, err := New(cfg); err == nil {
			tr.Close()
			t.Errorf("New(%+v): no error", cfg)
		}
	}
}

func BenchmarkThroughput(b *testing.B) {
	for _, lanes := range []int{1, 2, 4} {
		b.Run(fmt.Sprintf("lanes=%d", lanes), func(b *testing.B) { benchmarkLanes(b, lanes) })
	}
}

// benchmarkLanes moves 8 MiB per iteration, one way, over all lanes together.
func benchmarkLanes(b *testing.B, lanes int) {
	w := newWire()
	ta, tb := w.peer(b, "a"), w.peer(b, "b")
	var from, to []ring.Link
	for lane := range lanes {
		f, t := pair(b, ta, tb, 1, lane)
		from, to = append(from, f), append(to, t)
	}
	frames := 8 << 20 / lanes / frameBytes
	body := make([]byte, frameBytes)
	b.SetBytes(int64(frames * lanes * frameBytes))
	for b.Loop() {
		var wg sync.WaitGroup
		for i := range lanes {
			wg.Go(func() {
				for range frames {
					if err := from[i].Send(ring.Header{Kind: ring.Data, Length: frameBytes}, body); err != nil {
						b.Error(err)
						return
					}
				}
			})
			wg.Go(func() {
				for range frames {
					if _, err := to[i].Next(); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
	}
}
