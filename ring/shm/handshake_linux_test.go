package shm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringrun/ringrun/ring"
	"github.com/ringrun/ringrun/ring/ringtest"
)

// dial lets from dial p1 in the given epoch, for at most a second.
func dial(t *testing.T, from *Transport, epoch uint64) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	l, err := from.Dial(ctx, ring.Edge{Self: from.cfg.ID, Peer: "p1", Epoch: epoch})
	if err == nil {
		l.Close()
	}
	return err
}

// TestRefusal dials p1 in ways that it must refuse, and reads why.
func TestRefusal(t *testing.T) {
	other := group(t, 1, func(_ int, cfg *Config) { cfg.ID = "p7" })[0]
	for _, tt := range []struct {
		name   string
		change func(cfg *Config)
		want   string
	}{
		{"run", func(cfg *Config) { cfg.Run = "mnist" }, `you belong to run "mnist", this is run "test"`},
		{"secret", func(cfg *Config) { cfg.Secret = []byte("sixteen other bytes") }, "its secret is not the secret of run test"},
		{"peer", func(cfg *Config) {
			cfg.Resolve = func(string) (string, error) { return other.Addr(), nil }
		}, `you look for peer "p1", this is peer "p7"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ringtest.CheckLeaks(t)
			ts := group(t, 2, func(i int, cfg *Config) {
				if i == 0 {
					tt.change(cfg)
				}
			})
			begin := time.Now()
			err := dial(t, ts[0], 1)
			if _, ok := errors.AsType[*RefusedError](err); !ok || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want a refusal: %s", err, tt.want)
			}
			if d := time.Since(begin); d > 500*time.Millisecond {
				t.Errorf("the refusal took %v: it was not taken as final", d)
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

// TestOtherVersion speaks for a dialer of the future.
func TestOtherVersion(t *testing.T) {
	ringtest.CheckLeaks(t)
	conn := stranger(t, group(t, 2, nil)[1])
	h := hello{version: version + 1, run: "test", from: "p0", to: "p1"}
	if _, err := conn.Write(h.appendTo(nil)); err != nil {
		t.Fatal(err)
	}
	_, err := readMessage(conn, challenge, nonceBytes+32)
	want := "you speak version 2 of the protocol, this is version 1"
	if r, ok := errors.AsType[*RefusedError](err); !ok || r.Reason != want {
		t.Errorf("got %v, want a refusal: %s", err, want)
	}
}

// TestImpostor answers in the place of p1 without knowing the secret.
func TestImpostor(t *testing.T) {
	ringtest.CheckLeaks(t)
	name := "@ringrun-impostor-" + fmt.Sprint(os.Getpid())
	ln, err := net.Listen("unix", name)
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
		readHello(conn)
		writeMessage(conn, challenge, make([]byte, nonceBytes+32))
		rest, _ := io.ReadAll(conn)
		heard <- rest
	}()
	p0 := group(t, 1, func(_ int, cfg *Config) {
		cfg.Resolve = func(string) (string, error) { return name, nil }
	})[0]
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
	h := hello{version, "test", "p0", "p1", 1, 0, newNonce()}
	said := h.appendTo(nil)
	var recorded []byte
	for i, want := range []string{"", "your secret is not the secret of run test"} {
		conn := stranger(t, ts[1])
		conn.Write(said)
		answer, err := readMessage(conn, challenge, nonceBytes+32)
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			recorded = prove(ts[1].cfg.Secret, "dialer", said, answer[:nonceBytes])
		}
		writeMessage(conn, proof, recorded)
		if want == "" {
			continue // believed, as it should be: it waits to be accepted
		}
		_, err = readMessage(conn, welcome, 0)
		if r, ok := errors.AsType[*RefusedError](err); !ok || r.Reason != want {
			t.Errorf("got %v, want a refusal: %s", err, want)
		}
	}
}

// TestStrangers: who cannot speak the protocol learns nothing, and does not
// disturb those who can.
func TestStrangers(t *testing.T) {
	ringtest.CheckLeaks(t)
	ts := group(t, 2, nil)
	for range maxStrangers / 2 {
		stranger(t, ts[1]) // says nothing
	}
	for _, garbage := range []string{"GET / HTTP/1.1\r\nHost: p1\r\n\r\n", "ringshm\x01\xff\xff", "ringshm\x01\x00\x01x"} {
		conn := stranger(t, ts[1])
		io.WriteString(conn, garbage)
		if b, _ := io.ReadAll(conn); len(b) > 0 {
			t.Errorf("%q was answered with %q", garbage, b)
		}
	}
	begin := time.Now()
	connect(t, ts[0], ts[1], 1)
	if d := time.Since(begin); d > strangerTime/2 {
		t.Errorf("a peer had to wait for %v", d)
	}
}

func TestSlowStrangerIsDropped(t *testing.T) {
	for _, says := range []string{"", "ringshm", "ringshm\x01\x00\x40\x04"} {
		synctest.Test(t, func(t *testing.T) {
			here, there := net.Pipe()
			defer here.Close()
			go func() {
				defer here.Close()
				(&Transport{cfg: Config{ID: "p1"}}).greet(here)
			}()
			begin := time.Now()
			io.WriteString(there, says)
			io.Copy(io.Discard, there)
			if d := time.Since(begin); d != strangerTime {
				t.Errorf("after %q it was dropped after %v, want %v", says, d, strangerTime)
			}
		})
	}
}

// stranger connects without a word.
func stranger(t *testing.T, to *Transport) net.Conn {
	t.Helper()
	conn, err := net.Dial("unix", to.Addr())
	if err != nil {
		t.Fatal(err)
	}
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	t.Cleanup(func() { conn.Close() })
	return conn
}

func TestHelloRoundTrip(t *testing.T) {
	for _, h := range []hello{
		{version: version},
		{version, "run", "from", "to", 1<<64 - 1, 1<<16 - 1, newNonce()},
		{version, strings.Repeat("r", 255), strings.Repeat("f", 255), strings.Repeat("t", 255), 1, 2, newNonce()},
	} {
		b := h.appendTo(nil)
		got, said, err := readHello(io.MultiReader(bytes.NewReader(b), strings.NewReader("more")))
		if err != nil || got != h || !bytes.Equal(said, b) {
			t.Errorf("readHello(%+v) = %+v, %v", h, got, err)
		}
	}
}
