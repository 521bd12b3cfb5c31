package lobby

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringrun/ringrun/ring"
	"github.com/ringrun/ringrun/ring/ringtest"
)

// patience is for what takes milliseconds on a machine that has time for us.
const patience = 30 * time.Second

// dial lets from dial p1 in the given epoch, until it succeeds or is refused.
func dial(t *testing.T, from *guest, epoch uint64) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, err := from.dial(ctx, ring.Edge{Self: from.cfg.ID, Peer: "p1", Epoch: epoch})
	if err == nil {
		conn.Close()
	}
	return err
}

// TestRefusal dials p1 in ways that it must refuse, and reads why.
func TestRefusal(t *testing.T) {
	other := group(t, 1, func(_ int, g *guest) { g.cfg.ID = "p7" })[0]
	for _, tt := range []struct {
		name   string
		change func(g *guest)
		want   string
	}{
		{"run", func(g *guest) { g.cfg.Run = "mnist" }, `you belong to run "mnist", this is run "test"`},
		{"secret", func(g *guest) { g.cfg.Secret = []byte("sixteen other bytes") }, "its secret is not the secret of run test"},
		{"peer", func(g *guest) { g.goal = other.Addr() }, `you look for peer "p1", this is peer "p7"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ringtest.CheckLeaks(t)
			ts := group(t, 2, func(i int, g *guest) {
				if i == 0 {
					tt.change(g)
				}
			})
			err := dial(t, ts[0], 1) // which was final: there was time for more
			if _, ok := errors.AsType[*RefusedError](err); !ok || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want a refusal: %s", err, tt.want)
			}
			if errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v: the refusal was not taken as final", err)
			}
		})
	}
}

func TestOldEpochIsRefused(t *testing.T) {
	ringtest.CheckLeaks(t)
	ts := group(t, 3, nil)
	early := make(chan error, 1)
	go func() { early <- dial(t, ts[2], 3) }() // waits: p1 may still come to epoch 3
	connect(t, ts[0], ts[1], 4)
	for _, err := range []error{<-early, dial(t, ts[2], 3)} {
		if err == nil || !strings.Contains(err.Error(), "epoch 3 is over, this is epoch 4") {
			t.Errorf("got %v", err)
		}
	}
	connect(t, ts[0], ts[1], 5)
}

// TestGivenUp: a dialer that has proved itself and gone is not taken for the
// one that comes after it.
func TestGivenUp(t *testing.T) {
	ringtest.CheckLeaks(t)
	ts := group(t, 2, nil)
	e := ring.Edge{Self: "p1", Peer: "p0", Epoch: 1}
	for i := range 3 {
		ctx, cancel := context.WithCancel(t.Context())
		dialed := make(chan error, 1)
		go func() {
			_, err := ts[0].dial(ctx, ring.Edge{Self: "p0", Peer: "p1", Epoch: 1})
			dialed <- err
		}()
		awaitUsers(t, ts[1], e, i+1)
		cancel()
		if <-dialed == nil {
			t.Fatal("Dial succeeded though nobody accepts")
		}
	}
	connect(t, ts[0], ts[1], 1)
}

// awaitUsers waits until n wait for an edge.
func awaitUsers(t *testing.T, g *guest, e ring.Edge, n int) {
	t.Helper()
	for late := time.Now().Add(patience); ; runtime.Gosched() {
		g.mu.Lock()
		s := g.seats[e]
		here := s != nil && s.users == n
		g.mu.Unlock()
		if here {
			return
		}
		if time.Now().After(late) {
			t.Fatalf("not %d wait for %+v: this tests nothing", n, e)
		}
	}
}

// TestOtherVersion speaks for a dialer of the future.
func TestOtherVersion(t *testing.T) {
	ringtest.CheckLeaks(t)
	conn := stranger(t, group(t, 2, nil)[1])
	h := hello{version: version + 1, run: "test", from: "p0", to: "p1"}
	if _, err := conn.Write(h.appendTo(nil, testMagic)); err != nil {
		t.Fatal(err)
	}
	_, err := ReadMessage(conn, challenge, answerBytes+proofBytes)
	want := "you speak version 3 of the protocol, this is version 2"
	if r, ok := errors.AsType[*RefusedError](err); !ok || r.Reason != want {
		t.Errorf("got %v, want a refusal: %s", err, want)
	}
}

// TestImpostor answers in the place of p1 without knowing the secret.
func TestImpostor(t *testing.T) {
	ringtest.CheckLeaks(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	heard := make(chan []byte, 1)
	go func() {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		readHello(conn, testMagic)
		WriteMessage(conn, challenge, make([]byte, answerBytes+proofBytes))
		rest, _ := io.ReadAll(conn)
		heard <- rest
	}()
	p0 := group(t, 1, func(_ int, g *guest) { g.goal = ln.Addr().String() })[0]
	if err := dial(t, p0, 1); err == nil || !strings.Contains(err.Error(), "secret") {
		t.Errorf("got %v, want a refusal because of the secret", err)
	}
	if rest := <-heard; len(rest) > 0 {
		t.Errorf("the impostor was told %d bytes more", len(rest))
	}
}

// TestReplay sends again what a peer once said.
func TestReplay(t *testing.T) {
	ringtest.CheckLeaks(t)
	ts := group(t, 2, nil)
	h := hello{version, "test", "p0", "p1", 1, 0, Either, newNonce()}
	said := h.appendTo(nil, testMagic)
	var recorded []byte
	for i, want := range []string{"", "your secret is not the secret of run test"} {
		conn := stranger(t, ts[1])
		conn.Write(said)
		answer, err := ReadMessage(conn, challenge, answerBytes+proofBytes)
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			recorded = ts[1].cfg.prove("dialer", said, answer[:answerBytes])
		}
		WriteMessage(conn, proof, recorded)
		if want == "" {
			continue // believed, as it should be: it waits to be accepted
		}
		_, err = ReadMessage(conn, Welcome, 0)
		if r, ok := errors.AsType[*RefusedError](err); !ok || r.Reason != want {
			t.Errorf("got %v, want a refusal: %s", err, want)
		}
	}
}

// TestMeddler changes on the way which epoch p0 wants. The proofs cover it.
func TestMeddler(t *testing.T) {
	ringtest.CheckLeaks(t)
	between, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer between.Close()
	ts := group(t, 2, func(_ int, g *guest) { g.goal = between.Addr().String() })
	there := stranger(t, ts[1])
	go func() {
		here, err := between.Accept()
		if err != nil {
			return
		}
		defer here.Close()
		h, _, _ := readHello(here, testMagic)
		h.epoch++
		there.Write(h.appendTo(nil, testMagic))
		io.CopyN(here, there, 3+answerBytes+proofBytes)
		io.Copy(there, here)
	}()
	if err := dial(t, ts[0], 1); err == nil || !strings.Contains(err.Error(), "secret") {
		t.Errorf("got %v, want a refusal because of the proof", err)
	}
}

// TestStrangers: who cannot speak the protocol learns nothing, and does not
// disturb those who can.
func TestStrangers(t *testing.T) {
	ringtest.CheckLeaks(t)
	ts := group(t, 2, nil)
	silent(t, ts[1], 500)
	for _, garbage := range []string{"GET / HTTP/1.1\r\nHost: p1\r\n\r\n", "ringrun\x02\xff\xff", "ringrun\x02\x00\x01x"} {
		conn := stranger(t, ts[1])
		io.WriteString(conn, garbage)
		if b, _ := io.ReadAll(conn); len(b) > 0 {
			t.Errorf("%q was answered with %q", garbage, b)
		}
	}
	fastest := patience
	for epoch := range uint64(5) { // the machine may pause for as long, but not always
		silent(t, ts[1], 200)
		begin := time.Now()
		connect(t, ts[0], ts[1], epoch+1)
		fastest = min(fastest, time.Since(begin))
		if n := ts[1].crowd.Len(); n > 128 {
			t.Errorf("%d strangers are in", n)
		}
	}
	if fastest > StrangerTime/2 {
		t.Errorf("a peer had to wait for %v at least", fastest)
	}
}

// silent connects so many who say nothing.
func silent(t *testing.T, to *guest, n int) {
	t.Helper()
	for range n {
		stranger(t, to)
	}
}

func TestSlowStrangerIsDropped(t *testing.T) {
	for _, says := range []string{"", "ringrun", "ringrun\x02\x00\x40\x04"} {
		synctest.Test(t, func(t *testing.T) {
			here, there := net.Pipe()
			defer here.Close()
			go func() {
				defer here.Close()
				(&Config{Magic: testMagic, ID: "p1"}).greet(here)
			}()
			begin := time.Now()
			io.WriteString(there, says)
			io.Copy(io.Discard, there)
			if d := time.Since(begin); d != StrangerTime {
				t.Errorf("after %q it was dropped after %v, want %v", says, d, StrangerTime)
			}
		})
	}
}

// TestReports: what this peer says of those it has refused, and of whom it is
// silent.
func TestReports(t *testing.T) {
	for _, tt := range []struct {
		change func(h *hello)
		want   string
	}{
		{func(h *hello) { h.version++ }, "somebody speaks version 3 of the protocol, this is version 2: use one build everywhere"},
		{func(h *hello) { h.run = "mnist" }, `"p0" belongs to run "mnist", this is run "test"`},
		{func(h *hello) { h.privacy = Always }, `"p0" and this peer differ in TLS`},
		{func(h *hello) { h.to = "p7" }, ""}, // one of ours, with an old address
		{func(h *hello) {}, `"p0" has another secret`},
	} {
		cfg := &Config{Transport: "tcp", Magic: testMagic, ID: "p1", Run: "test", Secret: []byte("sixteen bytes or more")}
		here, there := net.Pipe()
		h := hello{version: version, run: "test", from: "p0", to: "p1"}
		tt.change(&h)
		go func() {
			there.Write(h.appendTo(nil, testMagic))
			if _, err := ReadMessage(there, challenge, answerBytes+proofBytes); err == nil {
				WriteMessage(there, proof, make([]byte, proofBytes))
			}
			io.Copy(io.Discard, there)
		}()
		_, _, err := cfg.greet(here)
		here.Close()
		there.Close()
		if err == nil || blame(err) != tt.want {
			t.Errorf("%+v: reported %q (%v), want %q", h, blame(err), err, tt.want)
		}
	}
}

// TestBlame: garbage and silence are reported; who goes without a word is not.
func TestBlame(t *testing.T) {
	for _, tt := range []struct {
		says string
		then func(there net.Conn)
		want string
	}{
		{"GET / HTTP/1.1\r\n", func(net.Conn) {}, "no valid hello"},
		{"ringrun", func(there net.Conn) { there.Close() }, "no valid hello"},
		{"", func(net.Conn) {}, "no valid hello"},
		{"", func(there net.Conn) { there.Close() }, ""},
	} {
		synctest.Test(t, func(t *testing.T) {
			cfg := &Config{Transport: "tcp", Magic: testMagic, ID: "p1", Run: "test", Secret: []byte("sixteen bytes or more")}
			here, there := net.Pipe()
			done := make(chan error)
			go func() {
				_, _, err := cfg.greet(here)
				done <- err
			}()
			go func() {
				io.WriteString(there, tt.says)
				tt.then(there)
			}()
			if err := <-done; blame(err) != tt.want {
				t.Errorf("after %q: reported %q (%v), want %q", tt.says, blame(err), err, tt.want)
			}
			here.Close()
			there.Close()
		})
	}
}

// TestEndBlamesNobody: whoever has just come when this peer ends is not reported.
func TestEndBlamesNobody(t *testing.T) {
	var lines []string
	p1 := group(t, 1, func(_ int, g *guest) { g.cfg.Refused = func(line string) { lines = append(lines, line) } })[0]
	for range 10 {
		stranger(t, p1)
	}
	for p1.crowd.Len() < 10 {
		runtime.Gosched()
	}
	p1.Close()
	if len(lines) > 0 {
		t.Errorf("reported %q", lines)
	}
}

// stranger connects without a word.
func stranger(t *testing.T, to *guest) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", to.Addr())
	if err != nil {
		t.Fatal(err)
	}
	conn.SetDeadline(time.Now().Add(patience))
	t.Cleanup(func() { conn.Close() })
	return conn
}

func TestHelloRoundTrip(t *testing.T) {
	for _, h := range []hello{
		{version: version},
		{version, "run", "from", "to", 1<<64 - 1, 1<<16 - 1, Never, newNonce()},
		{version, strings.Repeat("r", 255), strings.Repeat("f", 255), strings.Repeat("t", 255), 1, 2, Always, newNonce()},
	} {
		b := h.appendTo(nil, testMagic)
		got, said, err := readHello(io.MultiReader(bytes.NewReader(b), strings.NewReader("more")), testMagic)
		if err != nil || got != h || !bytes.Equal(said, b) {
			t.Errorf("readHello(%+v) = %+v, %v", h, got, err)
		}
	}
}
