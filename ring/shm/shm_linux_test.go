package shm

import (
	"fmt"
	"os"
	"strings"
	"testing"

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
