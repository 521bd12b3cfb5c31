package membership

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ringrun/ringrun/membership/strangers/mob"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

var halfOpen = flag.Int("halfopen", 2000, "connections that say nothing, in tests of a hostile network")

// A relay stands before a peer's port and keeps a copy of all that is sent there.
type relay struct {
	addr string

	mu      sync.Mutex
	packets [][]byte
	streams []*bytes.Buffer
}

func newRelay(t *testing.T, to string) *relay {
	t.Helper()
	ln, udp, err := bind("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{addr: ln.Addr().String()}
	out, err := net.Dial("udp", to)
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	t.Cleanup(func() { ln.Close(); udp.Close(); out.Close(); running.Wait() })
	running.Go(func() {
		b := make([]byte, udpBytes)
		for {
			n, err := udp.Read(b)
			if err != nil {
				return
			}
			r.mu.Lock()
			r.packets = append(r.packets, bytes.Clone(b[:n]))
			r.mu.Unlock()
			out.Write(b[:n])
		}
	})
	running.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			running.Go(func() { r.pass(c, to) })
		}
	})
	return r
}

func (r *relay) pass(c net.Conn, to string) {
	defer c.Close()
	d, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer d.Close()
	said := new(bytes.Buffer)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer d.Close()
		io.Copy(io.MultiWriter(d, said), c)
	}()
	io.Copy(c, d)
	c.Close()
	<-done
	r.mu.Lock()
	defer r.mu.Unlock()
	r.streams = append(r.streams, said)
}

// duo starts a and b and waits until they are in one view.
func duo(t *testing.T, log *zap.Logger) (a, b *Node, v View) {
	t.Helper()
	a = start(t, Config{ID: "a", Found: true, Expect: 2, Logger: log})
	b = start(t, Config{ID: "b", Join: []string{a.Addr()}})
	return a, b, viewOf(t, a, 2)
}

func start(t *testing.T, cfg Config) *Node {
	t.Helper()
	cfg.Run, cfg.Secret = "run", []byte(testSecret)
	ctx, cancel := context.WithTimeout(t.Context(), ample)
	defer cancel()
	n, err := Start(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n
}

// viewOf waits for a view of so many peers.
func viewOf(t *testing.T, n *Node, size int) View {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), ample)
	defer cancel()
	for v := (View{}); ; {
		var err error
		if v, err = n.Next(ctx, v.Epoch); err != nil {
			t.Fatalf("%s: %v, want a view of %d peers", n.ID(), err, size)
		}
		if len(v.Peers) == size {
			return v
		}
	}
}

// stays fails if a view follows within the time.
func stays(t *testing.T, n *Node, v View, d time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	if w, err := n.Next(ctx, v.Epoch); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%s: view %v, %v; want none after %v", n.ID(), w, err, v)
	}
}

// All that a peer has sent while it joined is sent again when it is dead, as it
// was and with some bits changed. Nobody joins, and nobody cares.
func TestReplayedJoin(t *testing.T) {
	a, b, _ := duo(t, nil)
	r := newRelay(t, a.Addr())
	c := start(t, Config{ID: "c", Join: []string{r.addr}})
	viewOf(t, c, 3)
	c.Close()
	v := viewOf(t, a, 2)
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.packets) == 0 || len(r.streams) == 0 {
		t.Fatalf("%d packets and %d streams were recorded: this tests nothing", len(r.packets), len(r.streams))
	}
	for _, addr := range []string{a.Addr(), b.Addr()} {
		r.replay(t, addr)
	}
	stays(t, a, v, time.Second)
}

func (r *relay) replay(t *testing.T, to string) {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	out, err := net.Dial("udp", to)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	for range 3 {
		for _, p := range r.packets {
			out.Write(p)
			garbled := bytes.Clone(p)
			garbled[rng.IntN(len(p))] ^= 1 << rng.IntN(8)
			out.Write(garbled)
		}
	}
	for _, s := range r.streams {
		c, err := net.Dial("tcp", to)
		if err != nil {
			t.Fatal(err)
		}
		c.Write(s.Bytes())
		c.Close()
	}
}

// While thousands of connections say nothing and all kinds of strangers come and
// go, the view stays, a peer gets in, and memory, goroutines and files are bounded.
func TestHostileNetwork(t *testing.T) {
	core, logs := observer.New(zap.WarnLevel)
	began := time.Now()
	a, b, v := duo(t, zap.New(core))
	goroutines, files := runtime.NumGoroutine(), openFiles(t)
	mob.HalfOpen(t, a.Addr(), *halfOpen)
	stop := mob.Pester(t, a.Addr(), helloMagic)
	mob.Pester(t, b.Addr(), helloMagic)
	stays(t, a, v, 500*time.Millisecond)
	begin := time.Now()
	start(t, Config{ID: "c", Join: []string{a.Addr()}})
	v = viewOf(t, a, 3)
	if d := time.Since(begin); d > 15*time.Second { // it would wait for 30
		t.Errorf("a peer had to wait for %v", d)
	}
	_, err := Start(t.Context(), Config{ID: "d", Run: "run", Secret: []byte("another secret, long enough"), Join: []string{a.Addr()}})
	if err == nil {
		t.Error("a peer with another secret has joined")
	}
	stays(t, b, v, 500*time.Millisecond)
	const most = 700 // strangers of both, what they need, the third peer
	if n := runtime.NumGoroutine() - goroutines; n > most {
		t.Errorf("%d goroutines more than before, want at most %d", n, most)
	}
	if n := openFiles(t) - files - *halfOpen; n > most {
		t.Errorf("%d files more than before, want at most %d", n, most)
	}
	stop()
	lines := logs.FilterMessageSnippet("refused").All()
	if most := 1 + int(time.Since(began)/time.Minute); len(lines) < 1 || len(lines) > most {
		t.Errorf("%d lines about strangers, want 1 to %d: %v", len(lines), most, lines)
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("this system does not list open files")
	}
	return len(all)
}

// Peers of other versions and runs, and those with another secret, are named in
// the log of who refused them.
func TestRefusalsAreNamed(t *testing.T) {
	for _, tt := range []struct {
		said greeting
		want string
	}{
		{greeting{version: helloVersion + 1, kind: 77}, "speaks version 3, not 2"},
		{greeting{version: helloVersion, kind: helloStream, body: hello{run: "mnist", id: "x"}.appendTo(nil)}, `peer "x" of another run, "mnist", not "run"`},
	} {
		core, logs := observer.New(zap.WarnLevel)
		cfg := testConfig("a")
		cfg.Logger = zap.New(core)
		tr, err := listen(cfg)
		if err != nil {
			t.Fatal(err)
		}
		c, err := net.Dial("tcp", tr.listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		c.Write(tt.said.appendTo(nil))
		io.ReadAll(c) // until it hangs up
		c.Close()
		tr.Shutdown()
		if !slices.ContainsFunc(logs.All(), func(e observer.LoggedEntry) bool {
			return bytes.Contains([]byte(e.Message), []byte(tt.want)) && bytes.Contains([]byte(e.Message), []byte("127.0.0.1"))
		}) {
			t.Errorf("logged %v, want %q", logs.All(), tt.want)
		}
	}
}
