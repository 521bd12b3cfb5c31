package bridge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/ringrun/ringrun/elastic"
	"github.com/ringrun/ringrun/membership"
)

// An event is what a peer reports to its launcher.
type event struct {
	Event string
	Addr  string
	Peers []string
	Error string
}

type reports func(event)

func (r reports) Write(b []byte) (int, error) {
	var e event
	if err := json.Unmarshal(b, &e); err != nil {
		return 0, err
	}
	r(e)
	return len(b), nil
}

// A cluster is a group of real peers in this process, over loopback.
type cluster struct {
	t       testing.TB
	ctx     context.Context
	founded chan struct{} // closed when the first peer listens,
	addr    string        // here
	heard   func(e event) // what the first peer reports, if not nil
	verify  int           // steps from one look at the parameters to the next; see elastic.Config
}

func newCluster(t testing.TB) *cluster {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	t.Cleanup(cancel)
	return &cluster{t: t, ctx: ctx, founded: make(chan struct{})}
}

func (c *cluster) report(e event) {
	if e.Event == "listening" {
		c.addr = e.Addr
		close(c.founded)
	}
	if c.heard != nil {
		c.heard(e)
	}
}

// run is peer i of a group that begins with size peers.
func (c *cluster) run(i, size int, train func(i int, ctx context.Context, g *elastic.Group) error) error {
	cfg := elastic.Config{
		Membership: membership.Config{ID: fmt.Sprintf("p%d", i), Run: c.t.Name(), Secret: []byte("a secret of the test")},
		Size:       size, VerifyEvery: c.verify,
		Silence: 20 * time.Second, // nobody is lost because the machine is busy
	}
	if i == 0 {
		cfg.Membership.Found = true
		cfg.Report = reports(c.report)
	} else {
		if err := wait(c.ctx, c.founded); err != nil {
			return err
		}
		cfg.Membership.Join = []string{c.addr}
	}
	return elastic.Run(c.ctx, cfg, func(ctx context.Context, g *elastic.Group) error { return train(i, ctx, g) })
}

// start runs size peers at once and returns the error of each.
func (c *cluster) start(size int, train func(i int, ctx context.Context, g *elastic.Group) error) []error {
	errs := make([]error, size)
	together(size, func(i int) { errs[i] = c.run(i, size, train) })
	return errs
}

func wait(ctx context.Context, c <-chan struct{}) error {
	select {
	case <-c:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

var groupSamples = elastic.Samples{Count: 50, Batch: batch, Shard: shard, Epochs: 4, Seed: 3}

// trainShards is the loop of a user.
func trainShards(ctx context.Context, g *elastic.Group, w *worker, each func(elastic.Shard) error) error {
	return trainEpochs(ctx, g, w, groupSamples.Epochs, each)
}

func trainEpochs(ctx context.Context, g *elastic.Group, w *worker, epochs int, each func(elastic.Shard) error) error {
	samples := groupSamples
	samples.Epochs = epochs
	for s, err := range g.Shards(ctx, samples) {
		if err == nil {
			err = each(s)
		}
		if err == nil {
			err = w.passOf(s.Samples)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// passOf is pass over any samples.
func (w *worker) passOf(samples []int) error {
	x, y := newArray(w.dtype, w.x.len()), newArray(w.dtype, w.y.len())
	for row, s := range samples {
		w.fill(s, s+1)
		for i := range inputs {
			x.set(row*inputs+i, w.x.at(i))
		}
		for i := range outputs {
			y.set(row*outputs+i, w.y.at(i))
		}
	}
	w.x.copyFrom(x)
	w.y.copyFrom(y)
	return w.run(w.solver)
}

// attached makes a worker of a real group.
func attached(t testing.TB, g *elastic.Group, o netOptions, s gorgonia.Solver) (*worker, error) {
	o.rows = shard
	w := &worker{net: newNet(t, o)}
	var err error
	if w.bridge, err = Attach(g, w.params, Average("loss", &w.loss)); err != nil {
		return nil, err
	}
	w.machine(t, w.bridge)
	w.solver = w.bridge.Solver(s)
	return w, nil
}

// Peers that begin with different weights and rates get those of one of them,
// and then train alike; so do one, two and four.
func TestGroupTrains(t *testing.T) {
	var want []float64
	for _, size := range []int{1, 2, 4} {
		ws := make([]*worker, size)
		errs := newCluster(t).start(size, func(i int, ctx context.Context, g *elastic.Group) (err error) {
			o := netOptions{dtype: tensor.Float64, kind: tapeVM, seed: uint64(1 + i)}
			if ws[i], err = attached(t, g, o, gorgonia.NewAdamSolver(gorgonia.WithLearnRate(0.01*float64(1+i)))); err != nil {
				return err
			}
			return trainShards(ctx, g, ws[i], func(elastic.Shard) error { return nil })
		})
		if err := errors.Join(errs...); err != nil {
			t.Fatalf("%d peers: %v", size, err)
		}
		if want == nil {
			want = ws[0].weights(t)
		}
		for i, got := range ws[0].weights(t) {
			if math.Abs(got-want[i]) > 1e-12*(1+math.Abs(want[i])) {
				t.Fatalf("%d peers: weight %d is %v, of one peer %v", size, i, got, want[i])
			}
		}
		for _, w := range ws {
			if w.bridge.ParamsHash() != ws[0].bridge.ParamsHash() || w.bridge.Metric("loss") != ws[0].bridge.Metric("loss") {
				t.Errorf("%d peers do not end equal: %v and %v", size, w.weights(t), ws[0].weights(t))
			}
			if s := w.bridge.Stats(); s.Late+s.Held > 0 || s.Early != 4*s.Steps {
				t.Errorf("%d peers: counted %+v, want all gradients early", size, s)
			}
			if got := w.bridge.Passes() * shard; math.Abs(got-200) > 1e-9 {
				t.Errorf("%d peers: %v samples counted, want 200", size, got)
			}
		}
	}
}

// A loop without Shards: each peer's own batch counts the same.
func TestGroupTrainsWithoutShards(t *testing.T) {
	ws := make([]*worker, 3)
	errs := newCluster(t).start(3, func(i int, ctx context.Context, g *elastic.Group) (err error) {
		o := netOptions{dtype: tensor.Float32, kind: []string{tapeVM, tapeNodes, tapeVM}[i], seed: uint64(1 + i)}
		if ws[i], err = attached(t, g, o, solvers["Momentum"]()); err != nil {
			return err
		}
		for g.Steps() < 10 {
			if err := ws[i].pass(100*i+int(g.Steps()), 100*i+int(g.Steps())+shard, ws[i].solver); err != nil {
				return err
			}
		}
		return nil
	})
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	for _, w := range ws {
		if w.bridge.ParamsHash() != ws[0].bridge.ParamsHash() {
			t.Errorf("peers do not end equal: %v and %v", w.weights(t), ws[0].weights(t))
		}
	}
}

// A bit of one peer's parameters flips: who and which parameter is said, once, and
// in the end all are equal.
func TestBitFlipIsHealed(t *testing.T) {
	train := func(flip bool) (said []string) {
		c := newCluster(t)
		c.verify = 2
		c.heard = func(e event) {
			if e.Event == "diverged" {
				said = append(said, e.Error)
			}
		}
		ws := make([]*worker, 3)
		errs := c.start(3, func(i int, ctx context.Context, g *elastic.Group) (err error) {
			if ws[i], err = attached(t, g, netOptions{dtype: tensor.Float64, kind: tapeVM, seed: 1}, solvers["our Adam"]()); err != nil {
				return err
			}
			once := false
			return trainShards(ctx, g, ws[i], func(s elastic.Shard) error {
				if flip && i == 1 && s.Step == 5 && !once {
					once = true
					w := ws[i].params[1].Value().Data().([]float64)
					w[2] = math.Float64frombits(math.Float64bits(w[2]) ^ 1<<40)
				}
				return nil
			})
		})
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
		for _, w := range ws {
			if w.bridge.ParamsHash() != ws[0].bridge.ParamsHash() {
				t.Errorf("peers do not end equal: %v and %v", w.weights(t), ws[0].weights(t))
			}
		}
		return said
	}
	if said := train(false); len(said) > 0 {
		t.Errorf("without a flip: %q", said)
	}
	said := train(true)
	if want := `parameter "b0" of p1 differs from that of the others after step 6`; len(said) != 1 || !strings.Contains(said[0], want) {
		t.Errorf("said %q, want one that has %q", said, want)
	}
}

// A second Bridge would leave the first one's parameters out of the state.
func TestSecondAttachIsRefused(t *testing.T) {
	err := newCluster(t).run(0, 1, func(_ int, ctx context.Context, g *elastic.Group) error {
		n := newNet(t, netOptions{dtype: tensor.Float32, kind: tapeBound, rows: shard, seed: 1})
		if _, err := Attach(g, n.params); err != nil {
			return err
		}
		_, err := Attach(g, n.params)
		return err
	})
	if !errors.Is(err, errSecond) {
		t.Errorf("error %v, want %v", err, errSecond)
	}
}

// One peer has another model: nobody trains, and all say the same.
func TestDifferentModelsAreNamed(t *testing.T) {
	errs := newCluster(t).start(3, func(i int, ctx context.Context, g *elastic.Group) error {
		o := netOptions{dtype: tensor.Float32, kind: tapeBound, seed: 1}
		if i == 2 {
			o.hidden = 6
		}
		w, err := attached(t, g, o, solvers["Adam"]())
		if err != nil {
			return err
		}
		return trainShards(ctx, g, w, func(elastic.Shard) error { return errors.New("training began") })
	})
	const want = `bridge: parameter "w0" is (5, 4) float32 on p0 but (5, 6) float32 on p2`
	for i, err := range errs {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("peer %d: error %v, want %s", i, err, want)
		}
	}
}

// One peer fails in the middle of an epoch, and another comes later with other
// weights. Those that are there at the end are equal, solver state included.
func TestGroupLosesAndGainsPeers(t *testing.T) {
	for _, name := range []string{"Adam", "our Adam"} {
		t.Run(name, func(t *testing.T) { loseAndGain(t, solvers[name]) })
	}
}

func loseAndGain(t *testing.T, newSolver func() gorgonia.Solver) {
	errLost := errors.New("lost")
	const size = 3
	ws := make([]*worker, size+1)
	c := newCluster(t)
	late := make(chan error, 1)
	lost := make(chan struct{})
	joined := make(chan struct{})
	closeJoined := sync.OnceFunc(func() { close(joined) })
	passes := make(chan struct{})
	closePasses := sync.OnceFunc(func() { close(passes) })
	c.heard = func(e event) {
		if slices.Contains(e.Peers, "p3") {
			closeJoined()
		}
	}
	loop := func(i int, ctx context.Context, g *elastic.Group) (err error) {
		o := netOptions{dtype: tensor.Float32, kind: tapeVM, seed: uint64(1 + i)}
		if ws[i], err = attached(t, g, o, newSolver()); err != nil {
			return err
		}
		return trainEpochs(ctx, g, ws[i], 150, func(s elastic.Shard) error {
			switch {
			case i == 1 && s.Step == 5:
				close(lost)
				return errLost
			case i == 0 && s.Step == 12: // soon after that its ring stands, and it comes in between two steps
				return wait(ctx, joined)
			case i == 0 && s.Step > 12: // nor before its ring is open, between two steps
				select {
				case <-passes:
				case <-time.After(20 * time.Millisecond):
				}
			case i == size:
				closePasses()
			}
			return nil
		})
	}
	go func() {
		<-lost
		late <- c.run(size, size, loop)
	}()
	errs := append(c.start(size, loop), <-late)
	for i, err := range errs {
		if i == 1 && !errors.Is(err, errLost) || i != 1 && err != nil {
			t.Fatalf("peer %d: %v", i, err)
		}
	}
	for _, i := range []int{2, size} {
		if got, want := ws[i].save(t), ws[0].save(t); string(got) != string(want) {
			t.Errorf("peer %d ends with other state than peer 0:\n%v\n%v", i, ws[i].weights(t), ws[0].weights(t))
		}
	}
	if p := ws[size].bridge.Passes(); p == 0 || p >= ws[0].bridge.Passes() {
		t.Errorf("the newcomer took part in %v passes, the first peer in %v", p, ws[0].bridge.Passes())
	}
}
