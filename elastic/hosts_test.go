package elastic

import (
	"context"
	"slices"
	"sync"
	"testing"

	"github.com/ringrun/ringrun/allreduce"
	"github.com/ringrun/ringrun/ring"
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

// Four hosts, between which links are fast in one order only: the peers agree on a
// view in that, and do not measure again.
func TestMeasuredOrder(t *testing.T) {
	c := newCluster(t, someSamples)
	c.hosts, c.order = []string{"w", "x", "y", "z"}, "measured"
	var mu sync.Mutex
	var views [][]string
	measured := map[int]int{} // times, by number of hosts, on rank 0
	c.measure = func(ctx context.Context, comm *allreduce.Comm, leaders []int) ([][]ring.Way, error) {
		if comm.Rank() == 0 {
			mu.Lock()
			measured[len(leaders)]++
			mu.Unlock()
		}
		ways, err := comm.Ways(ctx, leaders)
		if err != nil || len(leaders) < 4 {
			return ways, err
		}
		for i := range ways {
			for j := range ways { // 0 2 1 3 and 0 3 1 2 have fast links only
				ways[i][j].Rate = 1e6
				if i/2 != j/2 {
					ways[i][j].Rate = 1e9
				}
			}
		}
		return ways, nil
	}
	c.heard = func(p *peer, e event) {
		if e.Event == "view" && p.id == "p0-0" {
			mu.Lock()
			defer mu.Unlock()
			views = append(views, e.Peers)
		}
	}
	for range 4 {
		c.start(4)
	}
	c.check()
	mu.Lock()
	defer mu.Unlock()
	last := slices.IndexFunc(views, func(v []string) bool { return len(v) == 4 })
	if last < 0 || last+1 >= len(views) {
		t.Fatalf("views %q, want a second one of four", views)
	}
	got := views[last+1]
	if !slices.Equal(got, []string{"p0-0", "p2-0", "p1-0", "p3-0"}) && !slices.Equal(got, []string{"p0-0", "p3-0", "p1-0", "p2-0"}) {
		t.Errorf("the view after %q is %q", views[last], got)
	}
	if measured[4] != 1 {
		t.Errorf("rank 0 measured four hosts %d times, want once", measured[4])
	}
}
