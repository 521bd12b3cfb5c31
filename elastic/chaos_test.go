package elastic

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

var (
	chaosSeeds = flag.Int("chaos.seeds", 12, "how many random histories TestChaos tries")
	chaosFirst = flag.Uint64("chaos.first", 1, "seed of the first")
)

// A havoc lets things happen to the peers of a cluster at the points that they
// pass. One peer, the rock, is never killed and never left out, so that the state
// survives.
type havoc struct {
	c      *cluster
	rock   *peer
	starts sync.WaitGroup // newcomers that are being started

	mu     sync.Mutex // guards the fields below
	begun  bool       // the rock is in a view with others
	rng    *rand.Rand
	budget int
	killed map[*peer]bool
	joins  int
	log    []string
}

var errPointless = errors.New("the peer is dead")

// at is called by a peer at a point of its life: "pass", "reduce", "apply",
// "save", "load" or "view".
func (x *havoc) at(p *peer, point string) error {
	x.mu.Lock()
	if x.killed[p] {
		x.mu.Unlock()
		return errPointless
	}
	often := map[string]float64{"pass": 0.02, "reduce": 0.03, "apply": 0.03, "save": 0.1, "load": 0.2, "view": 0.1}[point]
	if !x.begun || x.budget == 0 || x.rng.Float64() >= often {
		x.mu.Unlock()
		return nil
	}
	x.budget--
	what := x.rng.IntN(7)
	if p == x.rock && (what < 2 || what == 6) || what == 2 && x.joins == 3 {
		what = 3 + x.rng.IntN(3)
	}
	name := [...]string{"killed", "left out", "sees a newcomer", "closes its ring", "stalls", "renews", "drains"}[what]
	x.log = append(x.log, fmt.Sprintf("%s %s at %s", p.id, name, point))
	if what == 0 {
		x.killed[p] = true
	}
	if what == 2 {
		x.joins++
	}
	pause := time.Duration(x.rng.IntN(150)) * time.Millisecond
	x.mu.Unlock()
	return x.happen(p, what, pause)
}

// sees lets things begin to happen when the rock is in a view with others. If the
// founder dies before anybody knows the first view, there is no run to save.
func (x *havoc) sees(p *peer, e event) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.begun = x.begun || p == x.rock && len(e.Peers) > 1
}

func (x *havoc) happen(p *peer, what int, pause time.Duration) error {
	p.mu.Lock()
	g := p.g
	p.mu.Unlock()
	if g == nil {
		return nil // its training has not begun
	}
	switch what {
	case 0:
		p.kill()
		return errPointless
	case 1:
		go g.node().Retire() // as when the others find it too slow: it learns it later
	case 2:
		x.starts.Go(func() { x.c.start(0) })
	case 3:
		if gen := g.current(); gen != nil {
			go gen.comm.Close()
		}
	case 4:
		select {
		case <-time.After(pause): // holds the goroutine: that is the fault
		case <-x.c.ctx.Done():
		}
	case 5:
		g.node().Renew(g.Epoch())
	case 6:
		g.Drain()
	}
	return nil
}

// moody is a counter whose Save and Load are points.
type moody struct {
	*counter
	at func(point string) error
}

func (m moody) Save(w io.Writer) error {
	if err := m.at("save"); err != nil {
		return err
	}
	return m.counter.Save(w)
}

func (m moody) Load(r io.Reader) error {
	if err := m.at("load"); err != nil {
		return err
	}
	return m.counter.Load(r)
}

// Peers are killed, left out, drained, cut off, held up, and join, wherever they are: in a
// pass, in a reduction, before they apply a step, while they share state, when a
// ring opens. Whatever happens, those who are left end with equal bits, and every
// sample was in exactly one step of each epoch.
func TestChaos(t *testing.T) {
	for i := range uint64(*chaosSeeds) {
		seed := *chaosFirst + i
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) { runChaos(t, seed) })
	}
}

func runChaos(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 0))
	n := 2 + rng.IntN(4)
	c := newCluster(t, Samples{Count: 300, Batch: 24, Shard: 4, Epochs: 4, Seed: seed})
	x := &havoc{c: c, rng: rng, budget: 2 + rng.IntN(8), killed: map[*peer]bool{}}
	rock := rng.IntN(n)
	var l ledgerman
	c.audit = "chaos"
	c.state = func(p *peer) State {
		return moody{&p.model, func(point string) error { return x.at(p, point) }}
	}
	c.at = func(p *peer, _ Shard) error { return x.at(p, "pass") }
	c.before = func(p *peer) error { return x.at(p, "reduce") }
	c.inside = func(p *peer, _ uint64) { _ = x.at(p, "apply") }
	c.heard = func(p *peer, e event) {
		l.hear(e)
		if e.Event == "view" {
			x.sees(p, e)
			_ = x.at(p, "view")
		}
	}
	switch seed % 8 {
	case 3:
		c.hosts = []string{"x", "y"}
	case 6:
		c.hosts, c.order = []string{"x", "y", "z", "x"}, "measured"
	}
	c.vector = func(g *Group, p *peer) []float64 {
		length := []int{300, 9000}[seed%2] // combined by all, or chunk by chunk
		if c.hosts != nil {
			length = 40000 // or within hosts first
		}
		if seed%3 == 0 || seed%3 == 1 && rank(p.id)%2 == 0 {
			return make([]float64, length)
		}
		return inArena(g, length)
	}
	x.mu.Lock() // until the rock is known
	for range n {
		c.start(n)
	}
	x.rock = c.peers[rock]
	x.mu.Unlock()
	<-x.rock.done
	x.starts.Wait()
	c.wait()
	t.Logf("%d peers, rock %s: %s", n, x.rock.id, strings.Join(x.log, "; "))
	c.check(c.spared(x)...)
	if a := l.check(t); x.rock.err == nil && a.Walks != c.samples.Epochs {
		t.Errorf("the audit says %+v, want %d walks", a, c.samples.Epochs)
	}
	if x.rock.err != nil {
		t.Errorf("the rock %s: %v", x.rock.id, x.rock.err)
	}
}

func rank(id string) (n int) {
	fmt.Sscanf(id, "p%d", &n)
	return n
}

// spared returns the peers that need not end well: those killed, and those who
// came too late or were left out at the very end, when nobody was there any more.
func (c *cluster) spared(x *havoc) []*peer {
	var out []*peer
	for _, p := range c.peers {
		if x.killed[p] || p.drained || p != x.rock && tooLate(p.err) {
			out = append(out, p)
		}
	}
	return out
}

func tooLate(err error) bool {
	return err != nil && slices.ContainsFunc([]string{"nobody answers", "not let in", "nobody is left", "hung up"}, func(s string) bool {
		return strings.Contains(err.Error(), s)
	})
}
