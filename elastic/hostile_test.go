package elastic

import (
	"flag"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ringrun/ringrun/membership/strangers/mob"
	"github.com/ringrun/ringrun/ring/tcp"
)

var halfOpen = flag.Int("halfopen", 1000, "connections that say nothing, in a test of a hostile network")

// encrypted makes all links of a cluster TCP with TLS.
func encrypted(_ int, cfg *Config) { cfg.Transport, cfg.TLS = "tcp", "always" }

// Peers train while every port of the first is full of connections that say
// nothing, and all kinds of strangers come and go at the ports of all. There is
// one view, no step is reduced twice, and at the end all is as it should be.
func TestHostileNetwork(t *testing.T) {
	c := newCluster(t, someSamples)
	c.config = encrypted
	var mu sync.Mutex
	epochs := map[uint64]bool{}
	c.heard = func(p *peer, e event) {
		if e.Event == "view" && len(e.Peers) == 3 {
			mu.Lock()
			defer mu.Unlock()
			epochs[e.Epoch] = true
		}
	}
	var once sync.Once
	c.at = func(p *peer, shard Shard) error {
		if shard.Step >= 5 {
			once.Do(func() { c.besiege(p) })
			<-time.After(2 * time.Millisecond) // a pass takes time: the strangers are to have some
		}
		return nil
	}
	for range 3 {
		c.start(3)
	}
	c.check()
	if len(epochs) != 1 {
		t.Errorf("there were the views %v of three peers, want one", epochs)
	}
	for _, p := range c.peers {
		if p.retries != 0 {
			t.Errorf("%s has reduced %d steps again", p.id, p.retries)
		}
	}
}

// besiege sends strangers to all ports of all peers; of the first also many that
// say nothing.
func (c *cluster) besiege(first *peer) {
	for _, p := range c.peers {
		gossip := p.g.node().Addr()
		links := p.g.session.transport.(*tcp.Transport).Addr()
		if p == first {
			mob.HalfOpen(c.t, gossip, *halfOpen)
			mob.HalfOpen(c.t, links, *halfOpen)
		}
		mob.Pester(c.t, gossip, "RINGRUN")
		mob.Pester(c.t, links, "ringrun")
	}
}

// Over encrypted links a peer dies, and another one comes and gets the state.
func TestEncrypted(t *testing.T) {
	c := newCluster(t, someSamples)
	c.config = encrypted
	var died, late sync.Once
	var fourth *peer
	c.at = func(p *peer, shard Shard) error {
		if p.id == "p1-0" && shard.Step == 7 {
			died.Do(p.kill)
			return errKilled
		}
		if p.id == "p0-0" && shard.Step == 12 {
			late.Do(func() { fourth = c.start(1) })
			p.awaitChange(c.ctx, p.g.current().view.Epoch+1)
		}
		return nil
	}
	first := c.start(3)
	c.start(3)
	c.start(3)
	<-first.done
	c.check(c.peers[1])
	if fourth == nil || fourth.steps != first.steps {
		t.Error("the latecomer has not trained to the end")
	}
}

// A peer that was told otherwise about TLS fails alone, and says why.
func TestOtherTLS(t *testing.T) {
	c := newCluster(t, someSamples)
	c.config = func(i int, cfg *Config) {
		cfg.Transport, cfg.TLS = "tcp", "always"
		if i == 2 {
			cfg.TLS = "never"
		}
	}
	var once sync.Once
	c.at = func(p *peer, shard Shard) error {
		if p.id == "p0-0" && shard.Step == 5 {
			once.Do(func() { <-c.start(1).done })
		}
		return nil
	}
	first := c.start(2)
	c.start(2)
	<-first.done
	if err := c.peers[2].err; err == nil || !strings.Contains(err.Error(), "p0-0 is started with TLS always, but this peer (p2-0) with never") {
		t.Errorf("got %v, want an error that names both settings", err)
	}
	c.check(c.peers[2])
}
