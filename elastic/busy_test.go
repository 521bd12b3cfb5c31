package elastic

import (
	"runtime"
	"sync"
	"testing"
	"time"
)

// Peers that compute on all processors, more of them than there are, for longer
// than Silence, are slow and not dead: their links beat, and nobody is left out.
func TestBusyPeersAreNotDead(t *testing.T) {
	const silence, busy = 4 * time.Second, 5 * time.Second
	c := newCluster(t, Samples{Count: 96, Batch: 32, Shard: 32, Epochs: 1, Seed: 1})
	c.silence = silence // four peers share this process, and that the machine
	c.at = func(p *peer, s Shard) error {
		if s.Step != 1 {
			return nil
		}
		var all sync.WaitGroup
		for range runtime.GOMAXPROCS(0) {
			all.Go(func() {
				for began := time.Now(); time.Since(began) < busy; {
					spin()
				}
			})
		}
		all.Wait()
		return nil
	}
	c.inside = func(p *peer, step uint64) {
		if e := p.g.Epoch(); e != 2 {
			t.Errorf("%s commits step %d in view %d, want 2: nobody is to be left out", p.id, step, e)
		}
	}
	for range 4 {
		c.start(4)
	}
	c.check()
	for _, p := range c.peers {
		if p.retries > 0 {
			t.Errorf("%s reduced %d steps twice", p.id, p.retries)
		}
	}
}

// spin keeps a processor without a call into the runtime.
func spin() {
	x := uint64(1)
	for range 1 << 20 {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
	}
	if x == 0 {
		panic("a xorshift that stops")
	}
}
