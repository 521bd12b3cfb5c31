package allreduce_test

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/ringrun/ringrun/allreduce"
	"github.com/ringrun/ringrun/ring"
	"github.com/ringrun/ringrun/ring/ringtest"
)

// silence is so long that no pause of a busy machine is taken for a death, and
// shorter than what ends a test that hangs. Real time is soon if it is long before
// that: not the silence has ended the wait.
const (
	silence = 20 * time.Second
	soon    = silence / 2
)

// A group is a ring of Comms in this process.
type group struct {
	testing.TB
	net    *ringtest.Net
	comms  []*allreduce.Comm
	chords bool // that the ring has
}

// open opens a group of n peers p0, p1, … and closes it when the test ends.
func open(t testing.TB, n int, opts ringtest.Options, cfg allreduce.Config) *group {
	t.Helper()
	return openEach(t, n, opts, func(int) allreduce.Config { return cfg })
}

// openChords is open of a ring with chords.
func openChords(t testing.TB, n int, opts ringtest.Options, cfg allreduce.Config) *group {
	t.Helper()
	net := ringtest.NewNet(opts)
	g := &group{TB: t, net: net, chords: true}
	g.join(n, func(int) allreduce.Config { return cfg }, func(self string) ring.Transport { return net.Transport(self) })
	return g
}

// openEach does so with a Config for each rank.
func openEach(t testing.TB, n int, opts ringtest.Options, cfg func(rank int) allreduce.Config) *group {
	t.Helper()
	net := ringtest.NewNet(opts)
	g := &group{TB: t, net: net}
	g.join(n, cfg, func(self string) ring.Transport { return net.Transport(self) })
	return g
}

func (g *group) join(n int, cfg func(rank int) allreduce.Config, transport func(self string) ring.Transport) {
	g.Helper()
	var peers []string
	for i := range n {
		peers = append(peers, fmt.Sprintf("p%d", i))
	}
	rings := make([]*ring.Ring, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			r, err := ring.Open(g.within(time.Minute), ring.Config{
				Self: peers[i], Peers: peers, Epoch: 7, Transport: transport(peers[i]), Chords: g.chords, Silence: silence,
			})
			if err != nil {
				g.Error(err)
				return
			}
			rings[i] = r
		})
	}
	wg.Wait()
	if g.Failed() {
		g.FailNow()
	}
	for i, r := range rings {
		g.comms = append(g.comms, allreduce.New(r, cfg(i)))
	}
	g.Cleanup(g.close)
}

func (g *group) within(d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	g.Cleanup(cancel)
	return ctx
}

// close closes all Comms at the same time.
func (g *group) close() {
	var wg sync.WaitGroup
	for _, c := range g.comms {
		wg.Go(func() { c.Close() })
	}
	wg.Wait()
}

// each runs f for every rank at the same time and returns the errors.
func (g *group) each(f func(ctx context.Context, c *allreduce.Comm) error) []error {
	g.Helper()
	ctx := g.within(2 * time.Minute)
	errs := make([]error, len(g.comms))
	var wg sync.WaitGroup
	for i, c := range g.comms {
		wg.Go(func() { errs[i] = f(ctx, c) })
	}
	wg.Wait()
	return errs
}

// must is each where no error is expected.
func (g *group) must(f func(ctx context.Context, c *allreduce.Comm) error) {
	g.Helper()
	for rank, err := range g.each(f) {
		if err != nil {
			g.Fatalf("rank %d: %v", rank, err)
		}
	}
}

// noLeaks fails the test if goroutines outlive it. It must be called first.
func noLeaks(t testing.TB) {
	before := runtime.NumGoroutine()
	t.Cleanup(func() {
		deadline := time.Now().Add(30 * time.Second)
		for runtime.NumGoroutine() > before {
			if time.Now().After(deadline) {
				b := make([]byte, 1<<20)
				t.Fatalf("%d goroutines, before there were %d:\n%s", runtime.NumGoroutine(), before, b[:runtime.Stack(b, true)])
			}
			runtime.Gosched()
		}
	})
}
