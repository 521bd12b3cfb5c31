package elastic

import (
	"fmt"
	"slices"
	"sync"
	"testing"
)

// With Scale a step has a batch for each peer, and all know how much faster they
// may learn: four peers, of whom one dies in the middle of a step, which keeps its
// size; then a newcomer.
func TestScaledBatch(t *testing.T) {
	const count, batch, dies, comes = 2000, 24, 5, 12
	c := newCluster(t, Samples{Count: count, Batch: batch, Shard: 4, Epochs: 2, Scale: true, Seed: 3})
	var once sync.Once
	var hold sync.WaitGroup // until the others are in that step as well
	hold.Add(3)
	var in [4]sync.Once
	c.at = func(p *peer, s Shard) error {
		if s.Step == dies && p == c.peers[1] {
			hold.Wait()
			p.kill()
			return errKilled
		}
		if s.Step == dies {
			in[slices.Index(c.peers, p)].Do(hold.Done)
		}
		if s.Step == comes && p.id != "p4-0" {
			once.Do(func() { c.start(4) })
			p.awaitChange(c.ctx, 4)
		}
		return nil
	}
	var mu sync.Mutex // guards scales
	scales := map[uint64]string{}
	c.inside = func(p *peer, step uint64) {
		var took float64
		for _, n := range p.sum {
			took += n
		}
		mu.Lock()
		defer mu.Unlock()
		is := fmt.Sprintf("%v×%v", p.g.LearningRateScale(), took)
		if was, ok := scales[step]; ok && was != is {
			t.Errorf("step %d: %s applies %s, another peer %s", step, p.id, is, was)
		}
		scales[step] = is
	}
	for range 4 {
		c.start(4)
	}
	c.wait()
	c.check(c.peers[1])
	for step, want := range map[uint64]string{0: "4×96", dies - 1: "4×96", dies: "4×72", dies + 1: "3×72", comes - 1: "3×72", comes + maxGap + 1: "4×96"} {
		if scales[step] != want {
			t.Errorf("step %d had scale×samples %s, want %s", step, scales[step], want)
		}
	}
}
