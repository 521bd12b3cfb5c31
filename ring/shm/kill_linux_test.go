package shm

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ringrun/ringrun/ring"
	"github.com/ringrun/ringrun/ring/ringtest"
)

const (
	childEnv   = "RING_SHM_TEST_CHILD"
	silenceEnv = "RING_SHM_TEST_CHILD_SILENCE"
)

// TestChild is the other process of the tests below: p1 of a ring of two. On its
// standard input it reads the address of p0.
func TestChild(t *testing.T) {
	what := os.Getenv(childEnv)
	if what == "" {
		t.Skip("only run by the tests below")
	}
	in := bufio.NewScanner(os.Stdin)
	p1 := group(t, 1, func(_ int, cfg *Config) {
		cfg.ID = "p1"
		cfg.Resolve = func(string) (string, error) { in.Scan(); return in.Text(), in.Err() }
	})[0]
	fmt.Println(p1.Addr())
	silence, err := time.ParseDuration(os.Getenv(silenceEnv))
	if err != nil {
		t.Fatal(err)
	}
	r := openRing(t, p1, silence)
	body := make([]byte, r.FrameBytes())
	for what == "sends" {
		if err := r.Lanes()[0].Send(ring.Header{}, body); err != nil {
			t.Fatal(err)
		}
	}
	<-r.Done()
}

func openRing(t *testing.T, tr *Transport, silence time.Duration) *ring.Ring {
	t.Helper()
	r, err := ring.Open(t.Context(), ring.Config{
		Self: tr.cfg.ID, Peers: []string{"p0", "p1"}, Epoch: 1, Transport: tr, Silence: silence,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// TestDeath: a process is killed, or stopped, while it sleeps or sends. Its
// neighbour notices, without Silence or because of it, and nothing is left of the
// dead one.
func TestDeath(t *testing.T) {
	for _, tt := range []struct {
		does    string
		signal  syscall.Signal
		silence time.Duration
		why     string
	}{
		{"sleeps", syscall.SIGKILL, 10 * patience, "link to p1"},
		{"sends", syscall.SIGKILL, 10 * patience, "link to p1"},
		{"sleeps", syscall.SIGSTOP, 2 * time.Second, "silent"},
		{"sends", syscall.SIGSTOP, 2 * time.Second, "silent"},
	} {
		t.Run(fmt.Sprintf("%s/%v", tt.does, tt.signal), func(t *testing.T) {
			ringtest.CheckLeaks(t)
			checkHoldings(t)
			child, addr, tell := startChild(t, tt.does, tt.silence)
			p0 := group(t, 1, func(_ int, cfg *Config) {
				cfg.Resolve = func(string) (string, error) { return addr, nil }
			})[0]
			fmt.Fprintln(tell, p0.Addr())
			r := openRing(t, p0, tt.silence)
			frames := make(chan struct{}, 1000000)
			go func() {
				for {
					if _, err := r.Lanes()[0].Next(); err != nil {
						return
					}
					frames <- struct{}{}
				}
			}()
			for range 100 {
				if tt.does == "sends" {
					<-frames
				}
			}
			child.Process.Signal(tt.signal)
			select {
			case <-r.Done():
			case <-time.After(patience):
				t.Fatal("nobody noticed")
			}
			if err := r.Err(); !strings.Contains(err.Error(), tt.why) {
				t.Errorf("%v does not mention %q", err, tt.why)
			}
			child.Process.Kill()
			child.Wait()
			if sockets, err := os.ReadFile("/proc/net/unix"); err != nil || strings.Contains(string(sockets), addr) {
				t.Errorf("the socket of the dead process is still there, or nobody can tell: %v", err)
			}
		})
	}
}

// startChild starts the other process and returns its address.
func startChild(t *testing.T, does string, silence time.Duration) (child *exec.Cmd, addr string, tell io.Writer) {
	t.Helper()
	child, tell, out := ringtest.StartChild(t, childEnv+"="+does, silenceEnv+"="+silence.String())
	s := bufio.NewScanner(out)
	s.Scan()
	if !strings.HasPrefix(s.Text(), "@") {
		t.Fatalf("the child says %q, want its address", s.Text())
	}
	return child, s.Text(), tell
}
