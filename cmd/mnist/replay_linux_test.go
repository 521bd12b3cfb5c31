package main

import (
	"bytes"
	"io"
	"net"
	"os"
	"regexp"
	"sync"
	"testing"
)

// A wiretap stands before a peer's port and keeps what is sent there.
type wiretap struct {
	addr string

	mu      sync.Mutex
	packets [][]byte
	streams [][]byte
}

// recordJoin returns all that a peer has said when it joined another run of the same
// name and secret.
func recordJoin(t *testing.T) *wiretap {
	t.Helper()
	j := startJob(t, "-n", "1", "PROG", "-epochs", "1000")
	addr := regexp.MustCompile(`-join (\S+:\d+)`).FindStringSubmatch(j.until(`-join \S+:\d+`))[1]
	w := tap(t, addr)
	late := startJob(t, "-n", "1", "-join", w.addr, "PROG", "-epochs", "1000")
	j.until(`view \d+: 2 peers`)
	for _, k := range []*job{late, j} {
		_ = k.cmd.Process.Signal(os.Interrupt)
		k.wait()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.packets)+len(w.streams) == 0 {
		t.Fatal("nothing was recorded: this tests nothing")
	}
	return w
}

func tap(t *testing.T, to string) *wiretap {
	t.Helper()
	in, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	packets, err := net.ListenPacket("udp", in.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	out, err := net.Dial("udp", to)
	if err != nil {
		t.Fatal(err)
	}
	w := &wiretap{addr: in.Addr().String()}
	var running sync.WaitGroup
	t.Cleanup(func() { in.Close(); packets.Close(); out.Close(); running.Wait() })
	running.Go(func() {
		for b := make([]byte, 1<<16); ; {
			n, _, err := packets.ReadFrom(b)
			if err != nil {
				return
			}
			w.mu.Lock()
			w.packets = append(w.packets, bytes.Clone(b[:n]))
			w.mu.Unlock()
			_, _ = out.Write(b[:n])
		}
	})
	running.Go(func() {
		for {
			c, err := in.Accept()
			if err != nil {
				return
			}
			running.Go(func() { w.pass(c, to) })
		}
	})
	return w
}

// pass lets one connection through, and keeps what its opener says.
func (w *wiretap) pass(c net.Conn, to string) {
	defer c.Close()
	d, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer d.Close()
	var said bytes.Buffer
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer d.Close()
		_, _ = io.Copy(io.MultiWriter(d, &said), c)
	}()
	_, _ = io.Copy(c, d)
	c.Close()
	<-done
	w.mu.Lock()
	defer w.mu.Unlock()
	w.streams = append(w.streams, said.Bytes())
}

// replay says all of it again, each three times.
func (w *wiretap) replay(t *testing.T, to string) {
	t.Helper()
	out, err := net.Dial("udp", to)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	w.mu.Lock()
	defer w.mu.Unlock()
	for range 3 {
		for _, p := range w.packets {
			_, _ = out.Write(p) // nobody takes packets there: nothing to do
		}
		for _, s := range w.streams {
			c, err := net.Dial("tcp", to)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = c.Write(s) // it was hung up on: as it should be
			c.Close()
		}
	}
}
