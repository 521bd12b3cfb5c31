package elastic

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"

	"github.com/ringrun/ringrun/allreduce"
)

func (p *peer) check() Check {
	half := len(p.sum) / 2
	return Check{
		Reduced: func() []Sum {
			return []Sum{{"bucket 0", allreduce.Of(p.sum[:half]).Hash()}, {"bucket 1", allreduce.Of(p.sum[half:]).Hash()}}
		},
		State: func() []Sum {
			return []Sum{{"counts", allreduce.Of(p.model.counts).Hash()}, {"marks", math.Float64bits(p.model.marks)}}
		},
	}
}

// A bit of one of four peers flips: in what was reduced, or in a parameter. All
// learn which, and that peer gets the state of the others; or the run stops. What
// the others hold does not change.
func TestFlippedBit(t *testing.T) {
	for _, tt := range []struct {
		where string
		n     int
		stop  bool
		want  string
	}{
		{"reduced", 4, false, "bucket 1 of p2-0 differs from that of the others after step 8"},
		{"state", 4, false, "marks of p2-0 differs from that of the others after step 8"},
		{"reduced", 3, true, "bucket 1 of p2-0 differs from that of the others after step 8"},
		{"state", 3, true, "marks of p2-0 differs from that of the others after step 8"},
		{"reduced", 2, false, "bucket 1 of p0-0, p1-0 differ after step 8, and no majority says which is right"},
		{"state", 2, false, "marks of p0-0, p1-0 differ after step 8, and no majority says which is right"},
	} {
		t.Run(fmt.Sprintf("%s/peers=%d/stop=%v", tt.where, tt.n, tt.stop), func(t *testing.T) {
			c := newCluster(t, someSamples)
			c.checks = true
			if tt.stop {
				c.diverge = "stop"
			}
			var mu sync.Mutex // guards named
			named := map[string]string{}
			c.heard = func(p *peer, e event) {
				if e.Event == "diverged" {
					mu.Lock()
					defer mu.Unlock()
					named[p.id] += e.Error
				}
			}
			victim := func(p *peer) bool { return p == c.peers[min(2, tt.n-1)] }
			c.after = func(p *peer, step uint64) error {
				if tt.where == "reduced" && step == 7 && victim(p) {
					p.sum[len(p.sum)-1] = math.Float64frombits(math.Float64bits(p.sum[len(p.sum)-1]) ^ 1)
				}
				return nil
			}
			c.inside = func(p *peer, step uint64) {
				if tt.where == "state" && step == 7 && victim(p) {
					p.model.marks = math.Float64frombits(math.Float64bits(p.model.marks) ^ 1<<20)
				}
			}
			for range tt.n {
				c.start(tt.n)
			}
			c.wait()
			for _, p := range c.peers {
				if !strings.HasSuffix(named[p.id], tt.want) || strings.Count(named[p.id], "step") != 1 {
					t.Errorf("%s heard %q, want %q once", p.id, named[p.id], tt.want)
				}
				if stops := tt.stop || tt.n == 2; stops != errors.Is(p.err, ErrDiverged) {
					t.Errorf("%s: %v", p.id, p.err)
				}
			}
			if !tt.stop && tt.n > 2 {
				c.check()
			}
		})
	}
}

// What no Check looks at is compared as well, as it is saved.
func TestFlippedBitWithoutCheck(t *testing.T) {
	c := newCluster(t, someSamples)
	heard := make(chan event, 100)
	c.heard = func(p *peer, e event) {
		if e.Event == "diverged" {
			heard <- e
		}
	}
	var once sync.Once
	c.inside = func(p *peer, step uint64) {
		if p == c.peers[1] && step == 10 {
			once.Do(func() { p.model.counts[3]++ })
		}
	}
	for range 3 {
		c.start(3)
	}
	c.check()
	if e := <-heard; !strings.Contains(e.Error, "state of p1-0 differs from that of the others after step 12") {
		t.Errorf("heard %q", e.Error)
	}
}
