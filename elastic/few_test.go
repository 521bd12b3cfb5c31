package elastic

import (
	"errors"
	"sync"
	"testing"
	"time"
)

// With fewer peers than MinSize the others wait, and go on when one has come.
func TestTooFewPeersWait(t *testing.T) {
	c := newCluster(t, someSamples)
	c.minimum = 3
	c.config = func(_ int, cfg *Config) { cfg.MinWait = 30 * time.Second }
	c.at = killAt(5)
	few := make(chan event, 100)
	c.heard = func(p *peer, e event) {
		if e.Event == "few" {
			few <- e
		}
	}
	for range 3 {
		c.start(3)
	}
	if e := <-few; e.Count != 3 || len(e.Peers) != 2 {
		t.Errorf("%d peers wait for %d, want 2 and 3", len(e.Peers), e.Count)
	}
	c.start(1)
	c.wait()
	c.check(c.peers[1])
}

// They do not wait for ever, and who is asked to leave does not wait.
func TestTooFewPeersGiveUp(t *testing.T) {
	const patience = 300 * time.Millisecond
	for _, drain := range []bool{false, true} {
		c := newCluster(t, someSamples)
		c.minimum = 3
		c.config = func(_ int, cfg *Config) { cfg.MinWait = patience }
		if drain {
			c.config = func(_ int, cfg *Config) { cfg.MinWait = time.Hour }
		}
		c.at = killAt(5)
		c.heard = func(p *peer, e event) {
			if e.Event == "few" && drain {
				p.g.Drain()
			}
		}
		began := time.Now()
		for range 3 {
			c.start(3)
		}
		c.wait()
		for _, i := range []int{0, 2} {
			switch err := c.peers[i].err; {
			case drain && err != nil:
				t.Errorf("%s is drained: %v", c.peers[i].id, err)
			case !drain && (!errors.Is(err, errTooFew) || time.Since(began) < patience):
				t.Errorf("%s: %v after %v, want %v after %v", c.peers[i].id, err, time.Since(began), errTooFew, patience)
			}
		}
	}
}

// killAt kills p1 before a pass of a step.
func killAt(step uint64) func(*peer, Shard) error {
	var once sync.Once
	return func(p *peer, s Shard) (err error) {
		if p.id == "p1-0" && s.Step == step {
			once.Do(func() {
				p.kill()
				err = errKilled
			})
		}
		return err
	}
}
