package shm

import (
	"testing"

	"github.com/ringrun/ringrun/ring"
	"github.com/ringrun/ringrun/ring/ringtest"
)

func BenchmarkLink(b *testing.B)     { ringtest.BenchLink(b, pair) }
func BenchmarkPingPong(b *testing.B) { ringtest.BenchPingPong(b, pair) }

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
