package elastic

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ringrun/ringrun/allreduce"
	"github.com/ringrun/ringrun/ring"
)

// The second of two peers dies when it sees its first view. The founder does not
// wait for others to start with: they were there.
func TestTheOtherComesAndGoes(t *testing.T) {
	c := newCluster(t, someSamples)
	c.heard = func(p *peer, e event) {
		if p.id == "p1-0" && e.Event == "view" {
			<-p.began
			p.kill()
		}
	}
	c.start(2)
	c.check(c.start(2))
}

// One peer has committed the last step alone, and the others have left it out.
// When it comes back it takes their state, and finishes the step with them.
func TestLeftOutAfterTheLastStep(t *testing.T) {
	const last = 47
	c := newCluster(t, someSamples)
	back := make(chan struct{})
	var once, leave sync.Once
	c.heard = func(p *peer, e event) {
		if p.id == "p0-0" && e.Event == "view" && len(e.Peers) == 3 && !strings.HasSuffix(e.Peers[2], "-0") {
			once.Do(func() { close(back) })
		}
	}
	c.inside = func(p *peer, step uint64) {
		if p.id == "p2-0" && step == last {
			leave.Do(func() { c.leaveOut(p) })
		}
	}
	var broken sync.Map
	c.after = func(p *peer, step uint64) error {
		if _, again := broken.LoadOrStore(p.id, true); step != last || p.id == "p2-0" || again {
			if step != last {
				broken.Delete(p.id)
			}
			return nil
		}
		select {
		case <-back:
		case <-c.ctx.Done():
		}
		return fmt.Errorf("%w: by the test", ring.ErrBroken)
	}
	for range 3 {
		c.start(3)
	}
	c.check()
}

// leaveOut makes the others go on without a peer that does not know it, as when
// they find its links silent.
func (c *cluster) leaveOut(p *peer) {
	node, gen := p.g.node(), p.g.current()
	go func() {
		node.Retire()
		p.awaitChange(c.ctx, math.MaxUint64) // until it knows; Leave would close its node, maybe before that
		gen.comm.Close()
	}()
}

// A founder that was left out comes back where it was: those who know its address
// can still join through it.
func TestLeftOutFounderKeepsItsPort(t *testing.T) {
	c := newCluster(t, someSamples)
	var mu sync.Mutex
	var addrs []string
	again := make(chan struct{})
	var back sync.Once
	c.heard = func(p *peer, e event) {
		if p.id != "p0-0" {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		switch {
		case e.Event == "listening":
			addrs = append(addrs, e.Addr)
		case e.Event == "view" && e.ID != p.id:
			back.Do(func() { close(again) })
		}
	}
	var once sync.Once
	c.at = func(p *peer, shard Shard) error {
		if shard.Step == 5 && p.id == "p0-0" {
			once.Do(func() { c.leaveOut(p) })
		}
		if shard.Step == 20 { // so that the others do not end without it
			select {
			case <-again:
			case <-c.ctx.Done():
			}
		}
		return nil
	}
	for range 3 {
		c.start(3)
	}
	c.check()
	if len(addrs) != 2 || addrs[0] != addrs[1] {
		t.Errorf("the founder listened at %v, want the same address twice", addrs)
	}
}

// Without Shards every peer holds a gradient in every step. One dies and one
// comes; all who are left have taken part in the same steps.
func TestCommitWithoutShards(t *testing.T) {
	c := newCluster(t, Samples{Count: 1, Batch: 1})
	var once, arrive sync.Once
	var late *peer
	joined := make(chan struct{})
	c.heard = func(p *peer, e event) {
		if p.id == "p3-0" && e.Event == "view" {
			arrive.Do(func() { close(joined) })
		}
	}
	c.loop = func(ctx context.Context, g *Group, p *peer) error {
		for g.Steps() < 40 {
			if p.id == "p1-0" && g.Steps() == 10 {
				p.kill()
			}
			if p.id == "p2-0" && g.Steps() == 20 {
				once.Do(func() {
					late = c.start(0)
					<-joined
				})
			}
			if g.Steps() >= 20 && p.id != "p3-0" {
				p.awaitChange(c.ctx, 3)
			}
			x := make([]float64, 1)
			reduce := func(comm *allreduce.Comm, w Weights) error {
				x[0] = w.Mine / w.Total
				return comm.AllReduce(ctx, allreduce.Of(x), allreduce.Sum)
			}
			_, err := g.Commit(ctx, reduce, func() error {
				if math.Abs(x[0]-1) > 1e-9 {
					return fmt.Errorf("the mean of ones is %v", x[0])
				}
				p.model.marks = p.model.marks*0.5 + 1
				return nil
			})
			if err != nil {
				return err
			}
		}
		p.steps, p.size = g.Steps(), g.Size()
		return nil
	}
	for range 3 {
		c.start(3)
	}
	c.wait()
	c.check(c.peers[1])
	if late == nil || late.steps != 40 || late.size != 3 {
		t.Errorf("the latecomer ends with %+v, want 40 steps and 3 peers", late)
	}
}

// With fewer peers than MinSize the run ends on all of them.
func TestTooFewPeers(t *testing.T) {
	c := newCluster(t, someSamples)
	c.minimum = 3
	c.at = func(p *peer, s Shard) error {
		if p.id == "p1-0" && s.Step == 5 {
			p.kill()
			return errKilled
		}
		return nil
	}
	for range 3 {
		c.start(3)
	}
	c.wait()
	for _, i := range []int{0, 2} {
		if err := c.peers[i].err; !errors.Is(err, errTooFew) {
			t.Errorf("%s: %v, want %v", c.peers[i].id, err, errTooFew)
		}
	}
}

var errGaveUp = errors.New("gave up")

// One of three peers is asked to end, or its training fails, wherever it is: it
// ends soon, and the others go on.
func TestOneGivesUp(t *testing.T) {
	for _, point := range []string{"view", "save", "pass", "reduce", "apply"} {
		for _, victim := range []string{"p0-0", "p2-0"} {
			t.Run(point+"/canceled/"+victim, func(t *testing.T) { giveUp(t, point, victim, true) })
			if point != "view" && point != "apply" { // nothing can fail there
				t.Run(point+"/failed/"+victim, func(t *testing.T) { giveUp(t, point, victim, false) })
			}
		}
	}
}

func giveUp(t *testing.T, point, victim string, cancel bool) {
	c := newCluster(t, someSamples)
	var once sync.Once
	var at time.Time
	reach := func(p *peer, here string) (err error) {
		if p.id == victim && here == point {
			once.Do(func() {
				at = time.Now()
				if err = errGaveUp; cancel {
					err = nil
					p.cancel()
				}
			})
		}
		return err
	}
	step := func(p *peer) uint64 { return p.g.Steps() }
	c.state = func(p *peer) State { return moody{&p.model, func(point string) error { return reach(p, point) }} }
	c.at = func(p *peer, s Shard) error {
		if s.Step < 7 {
			return nil
		}
		return reach(p, "pass")
	}
	c.before = func(p *peer) error {
		if step(p) < 7 {
			return nil
		}
		return reach(p, "reduce")
	}
	c.inside = func(p *peer, step uint64) {
		if step >= 7 {
			_ = reach(p, "apply")
		}
	}
	c.heard = func(p *peer, e event) {
		if e.Event == "view" && len(e.Peers) == 3 {
			_ = reach(p, "view")
		}
	}
	for range 3 {
		c.start(3)
	}
	p := c.peers[slices.IndexFunc(c.peers, func(p *peer) bool { return p.id == victim })]
	<-p.done
	if d := time.Since(at); d > noSilence/2 {
		t.Errorf("%s needed %v to end: it waits for somebody", victim, d)
	}
	if want := map[bool]error{true: context.Canceled, false: errGaveUp}[cancel]; !errors.Is(p.err, want) {
		t.Errorf("%s: %v, want %v", victim, p.err, want)
	}
	c.check(p)
}

// Who is told to end closes its ring. What then fails for that is not why it ends.
func TestCanceledIsNotBroken(t *testing.T) {
	c := newCluster(t, someSamples)
	c.loop = func(ctx context.Context, _ *Group, p *peer) error {
		p.cancel()
		<-ctx.Done()
		return fmt.Errorf("%w: closed", ring.ErrBroken)
	}
	p := c.start(1)
	if <-p.done; !errors.Is(p.err, context.Canceled) {
		t.Errorf("ends with %v, want %v", p.err, context.Canceled)
	}
}

// A generation leaves nothing behind: after many of them there are as many
// goroutines, and as much memory is in use, as after a few.
func TestManyGenerations(t *testing.T) {
	const few, many = 40, 200
	c := newCluster(t, Samples{Count: 6 * many, Batch: 6, Shard: 2, Epochs: 1, Seed: 1})
	views := make(chan uint64, 10*many)
	c.heard = func(p *peer, e event) {
		if p.id == "p0-0" && e.Event == "view" {
			views <- e.Epoch
		}
	}
	var early, late usage
	old := uint64(2)
	c.at = func(p *peer, shard Shard) error {
		if p.id != "p0-0" {
			return nil
		}
		switch shard.Step {
		case few:
			early = measure()
		case many - 1:
			for begin := time.Now(); ; time.Sleep(10 * time.Millisecond) { // what ends takes a moment
				if late = measure(); !late.exceeds(early) || time.Since(begin) > noSilence/2 {
					break
				}
			}
		}
		p.g.node().Renew(old)
		for {
			select {
			case e := <-views:
				if e > old {
					old = e
					return nil
				}
			case <-c.ctx.Done():
				return c.ctx.Err()
			}
		}
	}
	for range 3 {
		c.start(3)
	}
	c.check()
	t.Logf("after %d generations %+v, after %d %+v", few, early, many, late)
	if late.exceeds(early) {
		t.Errorf("%d goroutines and %d bytes in use after %d generations, %d and %d after %d", late.goroutines, late.heap, many, early.goroutines, early.heap, few)
	}
}

type usage struct {
	goroutines int
	heap       uint64
}

func (u usage) exceeds(early usage) bool {
	return u.goroutines > early.goroutines+20 || u.heap > early.heap+8<<20
}

func measure() usage {
	runtime.GC()
	runtime.GC() // pools are emptied by the second
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return usage{runtime.NumGoroutine(), m.HeapAlloc}
}
