package tcp

import (
	"fmt"
	"testing"

	"github.com/ringrun/ringrun/ring"
	"github.com/ringrun/ringrun/ring/ringtest"
)

// group opens the transports of p0, p1, …, which know each other's addresses.
// They are closed with the test.
func group(t testing.TB, n int, change func(i int, cfg *Config)) []*Transport {
	t.Helper()
	addrs := map[string][]string{}
	var ts []*Transport
	for i := range n {
		cfg := Config{
			ID:     fmt.Sprintf("p%d", i),
			Run:    "test",
			Secret: []byte("sixteen bytes or more"),
			Resolve: func(peer string) ([]string, error) {
				return addrs[peer], nil
			},
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
		addrs[cfg.ID] = []string{tr.Addr()}
	}
	return ts
}

func TestTransport(t *testing.T) {
	ringtest.TestTransport(t, func(t testing.TB, n int) []ring.Transport {
		ringtest.CheckLeaks(t)
		var ts []ring.Transport
		for _, tr := range group(t, n, nil) {
			ts = append(ts, tr)
		}
		return ts
	})
}

// TestPlainTransport does so for links that leave their connections to Go's
// netpoller, as systems other than Linux have them.
func TestPlainTransport(t *testing.T) {
	ringtest.TestTransport(t, func(t testing.TB, n int) []ring.Transport {
		ringtest.CheckLeaks(t)
		var ts []ring.Transport
		for _, tr := range group(t, n, nil) {
			tr.plain = true
			ts = append(ts, tr)
		}
		return ts
	})
}
