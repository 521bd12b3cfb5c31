package tcp

import (
	"testing"

	"github.com/ringrun/ringrun/ring"
	"github.com/ringrun/ringrun/ring/ringtest"
)

func BenchmarkLink(b *testing.B)     { ringtest.BenchLink(b, pair) }
func BenchmarkPingPong(b *testing.B) { ringtest.BenchPingPong(b, pair) }

// BenchmarkSealedLink streams with TLS.
func BenchmarkSealedLink(b *testing.B) {
	ringtest.BenchLink(b, func(t testing.TB) (dialed, accepted ring.Link) {
		ts := group(t, 2, always)
		return connect(t, ts[0], ts[1], 1)
	})
}

// BenchmarkOpen opens links.
func BenchmarkOpen(b *testing.B) {
	for name, change := range map[string]func(int, *Config){"clear": nil, "sealed": always} {
		b.Run(name, func(b *testing.B) {
			ts := group(b, 2, change)
			for i := range b.N {
				from, to := connect(b, ts[0], ts[1], uint64(i)+1)
				from.Close()
				to.Close()
			}
		})
	}
}

// pair opens a link from p0 to p1.
func pair(t testing.TB) (dialed, accepted ring.Link) {
	t.Helper()
	ts := group(t, 2, nil)
	return connect(t, ts[0], ts[1], 1)
}

// connect opens a link from a to b and closes it with the test.
func connect(t testing.TB, a, b *Transport, epoch uint64) (dialed, accepted ring.Link) {
	t.Helper()
	return ringtest.Connect(t, a, b, ring.Edge{Self: a.cfg.ID, Peer: b.cfg.ID, Epoch: epoch})
}
