package shm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/ringrun/ringrun/ring"
	"github.com/ringrun/ringrun/ring/ringtest"
)

// group opens the transports of p0, p1, …, which know each other's addresses.
// They are closed with the test.
func group(t testing.TB, n int, change func(i int, cfg *Config)) []*Transport {
	t.Helper()
	addrs := map[string]string{}
	var ts []*Transport
	for i := range n {
		cfg := Config{
			ID:      fmt.Sprintf("p%d", i),
			Run:     "test",
			Secret:  []byte("sixteen bytes or more"),
			Resolve: func(peer string) (string, error) { return addrs[peer], nil },
		}
		if change != nil {
			change(i, &cfg)
		}
		tr, err := Listen(cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { tr.Close() })
		ts = append(ts, tr)
		addrs[cfg.ID] = tr.Addr()
	}
	return ts
}

func TestTransport(t *testing.T) {
	for _, ringBytes := range []int{0, minRing, 4 << 20} {
		t.Run(fmt.Sprintf("ring=%d", ringBytes), func(t *testing.T) {
			checkHoldings(t)
			ringtest.TestTransport(t, func(t testing.TB, n int) []ring.Transport {
				ringtest.CheckLeaks(t)
				var ts []ring.Transport
				for _, tr := range group(t, n, func(_ int, cfg *Config) { cfg.RingBytes = ringBytes }) {
					ts = append(ts, tr)
				}
				return ts
			})
		})
	}
}

// TestRefusal: a refusal is final, and says why.
func TestRefusal(t *testing.T) {
	ringtest.CheckLeaks(t)
	ts := group(t, 2, func(i int, cfg *Config) { cfg.Run = fmt.Sprint("run", i) })
	err := dial(t, ts[0], 1, patience)
	want := "shm: refused by " + ts[1].Addr() + `: you belong to run "run0", this is run "run1"`
	if r, ok := errors.AsType[*RefusedError](err); !ok || r.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// patience is for what takes milliseconds on a machine that has time for us.
const patience = 30 * time.Second

// dial lets from dial p1 in the given epoch, for at most so long.
func dial(t *testing.T, from *Transport, epoch uint64, most time.Duration) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), most)
	defer cancel()
	l, err := from.Dial(ctx, ring.Edge{Self: from.cfg.ID, Peer: "p1", Epoch: epoch})
	if err == nil {
		l.Close()
	}
	return err
}

// checkHoldings fails the test if afterwards this process has more segments
// mapped, or more files open, than before.
func checkHoldings(t testing.TB) {
	t.Helper()
	maps, files := holdings(t)
	t.Cleanup(func() {
		if m, f := holdings(t); m > maps || f > files {
			t.Errorf("%d segments mapped and %d files open, want %d and %d as before", m, f, maps, files)
		}
	})
}

func holdings(t testing.TB) (maps, files int) {
	t.Helper()
	text, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, "memfd:ringrun") {
			maps++
		}
	}
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return maps, len(fds)
}
