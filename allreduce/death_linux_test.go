package allreduce_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ringrun/ringrun/allreduce"
	"github.com/ringrun/ringrun/ring"
	"github.com/ringrun/ringrun/ring/ringtest"
	"github.com/ringrun/ringrun/ring/shm"
)

const (
	childEnv   = "ALLREDUCE_TEST_CHILD"         // the length of the vectors
	silenceEnv = "ALLREDUCE_TEST_CHILD_SILENCE" // of the ring
)

// TestChild is the other process of the test below: p1 of a ring of two, which
// reduces for ever. On its standard input it reads the address of p0.
func TestChild(t *testing.T) {
	length, err := strconv.Atoi(os.Getenv(childEnv))
	if err != nil {
		t.Skip("only run by the test below")
	}
	silence, err := time.ParseDuration(os.Getenv(silenceEnv))
	if err != nil {
		t.Fatal(err)
	}
	in := bufio.NewScanner(os.Stdin)
	c, reduce := joinShared(t, "p1", length, silence, func(addr string) { fmt.Println(addr) }, func() string { in.Scan(); return in.Text() })
	for c.Err() == nil {
		_ = reduce(t.Context())
	}
}

// joinShared opens a ring of p0 and p1 and returns what reduces a vector in the
// arena, or from 8 bytes on outside of it where the length is odd.
func joinShared(t *testing.T, id string, length int, silence time.Duration, say func(addr string), hear func() string) (*allreduce.Comm, func(context.Context) error) {
	t.Helper()
	tr, err := shm.Listen(shm.Config{
		ID: id, Run: "test", Secret: []byte("sixteen bytes or more"),
		Resolve: func(string) (string, error) { return hear(), nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tr.Close() })
	say(tr.Addr())
	r, err := ring.Open(t.Context(), ring.Config{
		Self: id, Peers: []string{"p0", "p1"}, Epoch: 1, Transport: tr, Silence: silence,
	})
	if err != nil {
		t.Fatal(err)
	}
	c := allreduce.New(r, allreduce.Config{})
	t.Cleanup(func() { c.Close() })
	x := allreduce.Of(make([]float32, length))
	if length%2 == 0 {
		b, err := tr.Alloc(4 * length)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { tr.Free(b) })
		x = allreduce.Over(b, allreduce.Float32)
	}
	return c, func(ctx context.Context) error { return c.AllReduce(ctx, x, allreduce.Sum) }
}

// TestBoardDeath: a process is killed, or stopped, in the middle of a
// collective. The other one is free at once, long before Silence is over, or when it
// is over.
func TestBoardDeath(t *testing.T) {
	if shm.Identity() == "" {
		t.Skip("no shared memory here")
	}
	for _, tt := range []struct {
		length int
		signal syscall.Signal

		silence, within time.Duration
	}{
		{1, syscall.SIGKILL, silence, soon},
		{2000000, syscall.SIGKILL, silence, soon},
		{2000001, syscall.SIGKILL, silence, soon},
		{1, syscall.SIGSTOP, 2 * time.Second, time.Minute},
		{2000000, syscall.SIGSTOP, 2 * time.Second, time.Minute},
	} {
		t.Run(fmt.Sprintf("%d/%v", tt.length, tt.signal), func(t *testing.T) {
			noLeaks(t)
			child, addr, tell := startChild(t, tt.length, tt.silence)
			c, reduce := joinShared(t, "p0", tt.length, tt.silence, func(own string) { fmt.Fprintln(tell, own) }, func() string { return addr })
			for range 20 {
				if err := reduce(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			died := make(chan time.Time, 1)
			time.AfterFunc(20*time.Millisecond, func() {
				died <- time.Now()
				child.Process.Signal(tt.signal)
			})
			var err error
			for err == nil {
				err = reduce(t.Context())
			}
			if d := time.Since(<-died); d > tt.within {
				t.Errorf("it took %v until the other was free, want at most %v", d, tt.within)
			}
			if !errors.Is(err, ring.ErrBroken) || !strings.Contains(err.Error(), "p1") {
				t.Errorf("%v, want a broken ring because of p1", err)
			}
			c.Close()
		})
	}
}

// startChild starts the other process and returns its address.
func startChild(t *testing.T, length int, silence time.Duration) (child *exec.Cmd, addr string, tell io.Writer) {
	t.Helper()
	child, tell, out := ringtest.StartChild(t, childEnv+"="+strconv.Itoa(length), silenceEnv+"="+silence.String())
	s := bufio.NewScanner(out)
	s.Scan()
	if !strings.HasPrefix(s.Text(), "@") {
		t.Fatalf("the child says %q, want its address", s.Text())
	}
	return child, s.Text(), tell
}
