package elastic

import (
	"flag"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/ringrun/ringrun/membership"
)

var noLinger = flag.Bool("nolinger", false, "see TestLinger fail")

// A peer is cut off until the others have ended and nobody is left to ask. Its
// launcher knows that the run has ended, and says so: it ends well, without any
// step of its own after the cut.
func TestWordOfLauncher(t *testing.T) {
	s := newStage(t, 0, Samples{Count: 320, Batch: 32, Shard: 4, Epochs: 2, Seed: 1})
	plug := s.c.config
	s.c.config = func(i int, cfg *Config) {
		plug(i, cfg)
		cfg.linger = 100 * time.Millisecond
	}
	ends := make(chan event, 3)
	hears := s.c.heard
	s.c.heard = func(p *peer, e event) {
		hears(p, e)
		if e.Event == "done" {
			ends <- e
		}
	}
	for range 3 {
		s.c.start(3)
	}
	if err := s.Await(s.c.ctx, 10); err != nil {
		t.Fatal(err)
	}
	heal := s.f.cut([]int{0, 1}, []int{2})
	<-s.c.peers[0].done
	<-s.c.peers[1].done
	_ = heal() // it cannot fail
	p, e := s.c.peers[2], <-ends
	client, err := membership.ControlClient(s.c.secret, "test")
	if err != nil {
		t.Fatal(err)
	}
	defer client.CloseIdleConnections()
	url := fmt.Sprintf("http://%s/over?group=%s&epoch=%d&steps=%d", p.g.node().Addr(), e.Group, e.Epoch, e.Steps)
	resp, err := client.Post(url, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusAccepted {
		t.Errorf("told: %s", resp.Status)
	}
	<-p.done
	if p.err != nil || !p.drained || p.steps == e.Steps {
		t.Errorf("it ends after %d steps with %v, has left before the end: %t", p.steps, p.err, p.drained)
	}
	s.c.check(p)
}

// One of three is cut off in the last steps, until the others have done all of them.
// They wait for it, and it ends with what they have. If they did not, it would prove
// them dead so soon after its last word with them that nobody could have gone on
// without it, as far as it knows: it would do the last steps alone, and end well with
// other bits.
func TestLinger(t *testing.T) {
	s := newStage(t, 0, Samples{Count: 320, Batch: 32, Shard: 4, Epochs: 2, Seed: 1})
	if *noLinger {
		plug := s.c.config
		s.c.config = func(i int, cfg *Config) {
			plug(i, cfg)
			cfg.linger = 1
		}
	}
	alone := make(chan struct{})
	var once sync.Once
	hears := s.c.heard
	s.c.heard = func(p *peer, e event) {
		hears(p, e)
		if e.Event == "lingers" {
			once.Do(func() { close(alone) })
		}
	}
	for range 3 {
		s.c.start(3)
	}
	if err := s.Await(s.c.ctx, 17); err != nil {
		t.Fatal(err)
	}
	heal := s.f.cut([]int{0, 1}, []int{2})
	<-alone
	if *noLinger {
		<-s.c.peers[0].done
		<-s.c.peers[1].done
	}
	_ = heal() // it cannot fail
	s.verify()
}
