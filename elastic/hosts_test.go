package elastic

import (
	"slices"
	"sync"
	"testing"

	"github.com/ringrun/ringrun/allreduce"
)

// Peers on two hosts, which come in turns, reduce on two levels. One of them is
// killed in the middle of a step, so that one host has one peer fewer.
func TestTwoHosts(t *testing.T) {
	c := newCluster(t, someSamples)
	c.hosts = []string{"x", "y"}
	c.vector = func(*Group, *peer) []float64 { return make([]float64, 100_000) }
	var mu sync.Mutex
	views := map[int][]string{} // by size
	c.heard = func(p *peer, e event) {
		if e.Event == "view" {
			mu.Lock()
			defer mu.Unlock()
			views[len(e.Peers)] = e.Peers
		}
	}
	var once sync.Once
	c.before = func(p *peer) error {
		gen := p.g.current()
		if gen != nil && !slices.Contains(gen.comm.Algorithms(), allreduce.TwoLevel) && gen.comm.Err() == nil && len(gen.view.Peers) > 2 {
			t.Errorf("%s: %d peers have the algorithms %v", p.id, len(gen.view.Peers), gen.comm.Algorithms())
		}
		if p.id == "p3-0" && p.g.Steps() == 5 {
			once.Do(p.kill)
		}
		return nil
	}
	for range 4 {
		c.start(4)
	}
	c.wait()
	c.check(c.peers[3])
	mu.Lock()
	defer mu.Unlock()
	if got, want := views[4], []string{"p0-0", "p2-0", "p1-0", "p3-0"}; !slices.Equal(got, want) {
		t.Errorf("the view of four is %q, want hosts together: %q", got, want)
	}
	if got, want := views[3], []string{"p0-0", "p2-0", "p1-0"}; !slices.Equal(got, want) {
		t.Errorf("the view of three is %q, want %q", got, want)
	}
}
