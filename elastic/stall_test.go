package elastic

import (
	"strings"
	"testing"
	"time"

	"github.com/ringrun/ringrun/membership"
)

// A peer that computes for long is named by the others, who wait for it.
func TestStall(t *testing.T) {
	c := newCluster(t, Samples{Count: 64, Batch: 16, Shard: 4, Epochs: 1})
	named := make(chan [2]string, 100)
	c.heard = func(p *peer, e event) {
		if e.Event == "stalled" && p.id != "p1-0" && !strings.Contains(e.For, "does not answer") { // in time, on a busy machine
			named <- [2]string{p.id, e.For}
		}
	}
	free := make(chan struct{})
	c.at = func(p *peer, s Shard) error {
		if p.id == "p1-0" && s.Step == 2 {
			<-free
		}
		return nil
	}
	for range 3 {
		c.start(3)
	}
	begin := time.Now()
	got := map[string]string{}
	for len(got) < 2 {
		select {
		case s := <-named:
			got[s[0]] = s[1]
		case <-c.ctx.Done():
			t.Fatalf("after %v: %v", time.Since(begin), got)
		}
	}
	for id, s := range got {
		if !strings.HasPrefix(s, "p1-0 (computing, ") || !strings.Contains(s, "no bucket of 1") {
			t.Errorf("%s waits for %s", id, s)
		}
	}
	p := c.peers[0]
	client, err := membership.ControlClient(c.secret, "test")
	if err != nil {
		t.Fatal(err)
	}
	defer client.CloseIdleConnections()
	s, err := AskStatus(c.ctx, client, p.g.node().Addr())
	if err != nil || s.ID != "p0-0" || s.Steps != 2 || s.Phase != Reducing || s.InPhase < 0.9 || len(s.Peers) != 3 || s.Sent == 0 || s.Memory == 0 {
		t.Errorf("status of p0-0: %+v, %v", s, err)
	}
	close(free)
	for _, p := range c.peers {
		<-p.done
		if p.err != nil {
			t.Errorf("%s: %v", p.id, p.err)
		}
	}
}
