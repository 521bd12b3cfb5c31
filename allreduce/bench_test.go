package allreduce_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/ringrun/ringrun/allreduce"
	"github.com/ringrun/ringrun/ring"
	"github.com/ringrun/ringrun/ring/ringtest"
	"github.com/ringrun/ringrun/ring/tcp"
)

// BenchmarkAllReduce runs all peers in this process. busMB/s is what a link
// carries in each direction, so numbers of different sizes compare.
func BenchmarkAllReduce(b *testing.B) {
	for _, tr := range []string{"mem", "tcp"} {
		for _, n := range []int{2, 4} {
			for _, l := range []int{1, 256, 16 << 10, 256 << 10, 4 << 20, 16 << 20} {
				b.Run(fmt.Sprintf("transport=%s/peers=%d/len=%d", tr, n, l), func(b *testing.B) {
					benchmarkAllReduce(b, openOver(b, tr, n), l)
				})
			}
		}
	}
}

func openOver(t testing.TB, transport string, n int) *group {
	if transport == "mem" {
		return open(t, n, ringtest.Options{FrameBytes: 256 << 10}, allreduce.Config{})
	}
	return openTCP(t, n, tcp.Config{}, allreduce.Config{})
}

// openTCP opens a group over the loopback interface.
func openTCP(t testing.TB, n int, tc tcp.Config, cfg allreduce.Config) *group {
	t.Helper()
	var mu sync.Mutex
	addrs := map[string]string{}
	g := &group{TB: t, chords: n > 3}
	g.join(n, func(int) allreduce.Config { return cfg }, func(self string) ring.Transport {
		tc := tc
		tc.ID, tc.Run, tc.Secret = self, "test", []byte("sixteen bytes ..")
		tc.Resolve = func(peer string) ([]string, error) {
			mu.Lock()
			defer mu.Unlock()
			if a, ok := addrs[peer]; ok {
				return []string{a}, nil
			}
			return nil, fmt.Errorf("%s does not listen yet", peer)
		}
		tr, err := tcp.Listen(tc)
		if err != nil {
			panic(err)
		}
		t.Cleanup(func() { tr.Close() })
		mu.Lock()
		addrs[self] = tr.Addr()
		mu.Unlock()
		return tr
	})
	return g
}

func benchmarkAllReduce(b *testing.B, g *group, length int) {
	n := len(g.comms)
	x := make([][]float32, n)
	for rank := range x {
		x[rank] = make([]float32, length)
	}
	loop := func(rounds int) {
		g.must(func(ctx context.Context, c *allreduce.Comm) error {
			for range rounds {
				if err := c.AllReduce(ctx, allreduce.Of(x[c.Rank()]), allreduce.Sum); err != nil {
					return err
				}
			}
			return nil
		})
	}
	loop(3)
	b.SetBytes(int64(4 * length))
	b.ReportAllocs()
	b.ResetTimer()
	loop(b.N)
	perOp := b.Elapsed().Seconds() / float64(b.N)
	b.ReportMetric(float64(4*length)/perOp*2*float64(n-1)/float64(n)/1e6, "busMB/s")
}
