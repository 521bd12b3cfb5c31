package rtc

import (
	"bufio"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"os"
	"testing"
	"time"

	"github.com/ringrun/ringrun/ring"
	"github.com/ringrun/ringrun/ring/ringtest"
)

const childEnv = "RING_RTC_TEST_CHILD"

// pipe is a Signaler between two processes, a line for each message.
type pipe struct {
	peer string
	out  io.Writer
	in   chan []byte
}

func newPipe(peer string, out io.Writer, in io.Reader) pipe {
	p := pipe{peer, out, make(chan []byte)}
	go func() {
		defer close(p.in)
		for s := bufio.NewScanner(in); s.Scan(); {
			if data, err := base64.StdEncoding.DecodeString(s.Text()); err == nil {
				p.in <- data
			}
		}
	}()
	return p
}

func (p pipe) Send(_ context.Context, _ string, data []byte) error {
	_, err := fmt.Fprintln(p.out, base64.StdEncoding.EncodeToString(data))
	return err
}

func (p pipe) Receive(ctx context.Context) (string, []byte, error) {
	select {
	case data, ok := <-p.in:
		if !ok {
			return "", nil, io.EOF
		}
		return p.peer, data, nil
	case <-ctx.Done():
		return "", nil, ctx.Err()
	}
}

func openRing(t *testing.T, self, other string, p pipe) *ring.Ring {
	t.Helper()
	tr, err := New(Config{ID: self, Signal: p, Loopback: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tr.Close() })
	r, err := ring.Open(testContext(t, patience), ring.Config{Self: self, Peers: []string{"a", "b"}, Epoch: 1, Transport: tr, Silence: 3 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// TestChild is the other process of TestKilled.
func TestChild(t *testing.T) {
	if os.Getenv(childEnv) == "" {
		t.Skip("only run by TestKilled")
	}
	r := openRing(t, "b", "a", newPipe("a", os.Stdout, os.Stdin))
	if err := r.Lanes()[0].Send(ring.Header{}, []byte("ready")); err != nil {
		t.Fatal(err)
	}
	<-r.Done()
}

// A process is killed: no fin, no DTLS alert. The heartbeats of the ring tell.
func TestKilled(t *testing.T) {
	child, in, out := ringtest.StartChild(t, childEnv+"=1")
	r := openRing(t, "a", "b", newPipe("b", in, out))
	if _, err := r.Lanes()[0].Next(); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-r.Done():
		t.Logf("seen after %v: %v", time.Since(start), r.Err())
	case <-time.After(patience):
		t.Fatal("nobody noticed")
	}
	if d := time.Since(start); d > soon {
		t.Errorf("it took %v to be seen", d)
	}
}
