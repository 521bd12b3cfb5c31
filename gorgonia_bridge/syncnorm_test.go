package bridge

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/ringrun/ringrun/elastic"
)

// newSyncNet is newNet's perceptron with batch norm before its tanh: Gorgonia's,
// or that over all peers.
func newSyncNet(t testing.TB, rows int, seed uint64, sync bool) *net {
	t.Helper()
	building.Lock()
	defer building.Unlock()
	n := &net{dtype: tensor.Float64, kind: tapeVM, rows: rows, graph: gorgonia.NewGraph()}
	n.x, n.y = newArray(n.dtype, rows*inputs), newArray(n.dtype, rows*outputs)
	rng := rand.New(rand.NewPCG(seed, 1))
	x, y := n.tensor("x", n.x, rows, inputs), n.tensor("y", n.y, rows, outputs)
	h := gorgonia.Must(gorgonia.Mul(x, n.param("w0", rng, inputs, 4)))
	γ, β := n.param("γ", rng, 1, 4), n.param("β", rng, 1, 4)
	var err error
	if sync {
		h, _, _, _, err = SyncBatchNorm(h, γ, β, 0.1, 1e-5)
	} else {
		h, _, _, _, err = gorgonia.BatchNorm(h, γ, β, 0.1, 1e-5)
	}
	if err != nil {
		t.Fatal(err)
	}
	out := gorgonia.Must(gorgonia.Mul(gorgonia.Must(gorgonia.Tanh(h)), n.param("w1", rng, 4, outputs)))
	miss := gorgonia.Must(gorgonia.Sub(gorgonia.Must(gorgonia.HadamardProd(y, out)), y))
	loss := gorgonia.Must(gorgonia.Mul(gorgonia.Must(gorgonia.Sum(gorgonia.Must(gorgonia.Square(miss)))), gorgonia.NewConstant(1/float64(rows))))
	gorgonia.Read(loss, &n.loss)
	if _, err := gorgonia.Grad(loss, n.params...); err != nil {
		t.Fatal(err)
	}
	return n
}

// A normed is a group of peers that train a newSyncNet.
type normed struct {
	size    int
	samples elastic.Samples
	sync    bool
	each    func(i int, w *worker, s elastic.Shard) error // before a pass, if not nil
}

func (n normed) train(t *testing.T) ([]*worker, []error) {
	ws := make([]*worker, n.size)
	errs := newCluster(t).start(n.size, func(i int, ctx context.Context, g *elastic.Group) (err error) {
		w := &worker{net: newSyncNet(t, n.samples.Shard, uint64(1+i), n.sync)}
		if w.bridge, err = Attach(g, w.params, Average("loss", &w.loss)); err != nil {
			return err
		}
		w.machine(t, w.bridge)
		if err := w.bridge.KeepNorms(w.graph); err != nil {
			return err
		}
		w.solver = w.bridge.Solver(solvers["Momentum"]())
		ws[i] = w
		for s, err := range g.Shards(ctx, n.samples) {
			if err != nil {
				return err
			}
			if n.each != nil {
				if err := n.each(i, w, s); err != nil {
					return err
				}
			}
			if err := w.passOf(s.Samples); err != nil {
				if w.bridge.Again(err) {
					w.vm.Reset()
					w.again++
					continue
				}
				return err
			}
		}
		return nil
	})
	return ws, errs
}

// near fails unless the weights and running statistics of two peers are equal but
// for rounding.
func near(t *testing.T, got, want *worker) {
	t.Helper()
	check := func(what string, got, want []float64) {
		for i := range want {
			if math.IsNaN(got[i]) || math.Abs(got[i]-want[i]) > 1e-12*(1+math.Abs(want[i])) {
				t.Fatalf("%s %d is %v, want %v", what, i, got[i], want[i])
			}
		}
	}
	check("weight", got.weights(t), want.weights(t))
	check("statistic", got.bridge.group.(*keeper).norms.kept, want.bridge.group.(*keeper).norms.kept)
}

func equalBits(t *testing.T, ws []*worker) {
	t.Helper()
	for i, w := range ws {
		if w.bridge.ParamsHash() != ws[0].bridge.ParamsHash() {
			t.Errorf("peer %d ends with %v, peer 0 with %v", i, w.weights(t), ws[0].weights(t))
		}
		if w.bridge.Stats().Late > 0 {
			t.Errorf("peer %d: %v", i, w.bridge.Stats())
		}
	}
}

// Four peers with a quarter of the batch each, and two with uneven parts, are one
// with all of it and Gorgonia's own batch norm: for 20 steps, rows that are left
// out and running statistics included.
func TestNormsOverAllPeers(t *testing.T) {
	for _, tt := range []struct{ size, batch, shard int }{{4, 12, 3}, {2, 12, 6}, {2, 5, 3}, {3, 7, 3}} {
		t.Run(fmt.Sprintf("%d of %d", tt.size, tt.batch), func(t *testing.T) {
			samples := elastic.Samples{Count: tt.batch * 10, Batch: tt.batch, Shard: tt.batch, Epochs: 2, Seed: 3}
			one, errs := normed{size: 1, samples: samples}.train(t)
			if err := errors.Join(errs...); err != nil {
				t.Fatal(err)
			}
			samples.Shard = tt.shard
			ws, errs := normed{size: tt.size, samples: samples, sync: true}.train(t)
			if err := errors.Join(errs...); err != nil {
				t.Fatal(err)
			}
			near(t, ws[0], one[0])
			equalBits(t, ws)
			if s := ws[0].bridge.Stats(); s.Steps != 20 {
				t.Errorf("%d steps", s.Steps)
			}
		})
	}
}

// Peers that would run two and one passes run two each.
func TestNormsOfUnevenPasses(t *testing.T) {
	passes := make([]int, 2)
	ws, errs := normed{size: 2, samples: elastic.Samples{Count: 32, Batch: 8, Shard: 3, Epochs: 2, Seed: 3}, sync: true,
		each: func(i int, _ *worker, s elastic.Shard) error { passes[i]++; return nil }}.train(t)
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	equalBits(t, ws)
	if passes[0] != passes[1] || passes[0] != 2*int(ws[0].bridge.Stats().Steps) {
		t.Errorf("passes %v in %d steps", passes, ws[0].bridge.Stats().Steps)
	}
	if got := ws[0].bridge.Passes() * 3; math.Abs(got-64) > 1e-9 {
		t.Errorf("%v samples counted, want 64", got)
	}
}

// A peer is lost where the others wait for it in the forward pass, in the backward
// pass, or in Step. They begin the step anew, end with equal bits, and use every
// sample as often as ever.
func TestNormsLoseAPeerInAPass(t *testing.T) {
	errLost := errors.New("lost")
	for where, again := range map[string]int{"forward": 1, "backward": 1, "Step": 0} {
		ws, errs := normed{size: 3, samples: elastic.Samples{Count: 48, Batch: 12, Shard: 4, Epochs: 4, Seed: 3}, sync: true,
			each: func(i int, w *worker, s elastic.Shard) error {
				if i != 1 || s.Step != 5 {
					return nil
				}
				switch m := newMoments(4); where {
				case "backward":
					return errors.Join(w.bridge.syncMoments(&m), errLost)
				case "Step":
					return errors.Join(w.vm.RunAll(), errLost)
				}
				return errLost
			}}.train(t)
		if !errors.Is(errs[1], errLost) || errs[0] != nil || errs[2] != nil {
			t.Fatalf("%s: %v", where, errs)
		}
		left := []*worker{ws[0], ws[2]}
		equalBits(t, left)
		for _, w := range left {
			if w.again > again || w.again < again && where != "forward" { // which who is late has not begun
				t.Errorf("%s: %d passes were run again", where, w.again)
			}
			if got := w.bridge.Passes() * 4; math.Abs(got-192) > 1e-9 || w.bridge.Stats().Steps != 16 {
				t.Errorf("%s: %v samples in %d steps, want 192 in 16", where, got, w.bridge.Stats().Steps)
			}
		}
	}
}

// A loop without Shards goes on, too, when a third peer comes: no pass fails, and
// all end with equal bits.
func TestNormsWithoutShards(t *testing.T) {
	c := newCluster(t)
	ws := make([]*worker, 3)
	begun := make(chan struct{})
	begin := sync.OnceFunc(func() { close(begun) })
	train := func(i int, ctx context.Context, g *elastic.Group) (err error) {
		w := &worker{net: newSyncNet(t, shard, uint64(1+i), true)}
		if w.bridge, err = Attach(g, w.params); err != nil {
			return err
		}
		w.machine(t, w.bridge)
		w.solver = w.bridge.Solver(solvers["SGD"]())
		ws[i] = w
		if err := g.Sync(ctx); err != nil {
			return err
		}
		for three := 0; three < 10; { // passes among three
			if g.Size() == 3 {
				three++
			}
			if i == 0 && g.Steps() == 5 {
				begin()
			}
			first := 100*i + 3*int(g.Steps()%30)
			if err := w.pass(first, first+shard, w.solver); err != nil {
				return err
			}
		}
		return nil
	}
	errs := make([]error, 3)
	together(3, func(i int) {
		if i == 2 {
			if errs[i] = wait(c.ctx, begun); errs[i] != nil {
				return
			}
		}
		errs[i] = c.run(i, 2, train)
	})
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	equalBits(t, ws)
}

// What cannot be done is said.
func TestNormsOverAllPeersRefuse(t *testing.T) {
	_, errs := normed{size: 1, samples: elastic.Samples{Count: 8, Batch: 4, Epochs: 1, Shard: 4}, sync: true,
		each: func(_ int, w *worker, s elastic.Shard) error {
			if err := w.bridge.NoSync(w.vm.RunAll); !errors.Is(err, ErrPasses) {
				t.Errorf("NoSync: error %v, want %v", err, ErrPasses)
			}
			if err := w.vm.RunAll(); err != nil {
				return err
			}
			w.vm.Reset()
			return nil // and it runs again
		}}.train(t)
	if errs[0] == nil || !strings.Contains(errs[0].Error(), "ran twice before Step") {
		t.Errorf("a machine that runs twice: error %v", errs[0])
	}
	w := &worker{net: newSyncNet(t, 3, 1, true)}
	if _, err := attach(&testGroup{}, w.params); err == nil || !strings.Contains(err.Error(), "SyncBatchNorm needs") {
		t.Errorf("a group without passes: error %v", err)
	}
	g := gorgonia.NewGraph()
	x := gorgonia.NewTensor(g, tensor.Float64, 3, gorgonia.WithShape(2, 3, 4), gorgonia.WithName("x"))
	if _, _, _, _, err := SyncBatchNorm(x, nil, nil, 0.1, 1e-5); err == nil {
		t.Error("three dimensions are normalised")
	}
}

// On one peer it is Gorgonia's batch norm, also for images and float32: values,
// gradients and running statistics.
func TestNormsOfOnePeerAreGorgonias(t *testing.T) {
	for _, dtype := range both {
		for _, shape := range []tensor.Shape{{6, 3}, {4, 3, 2, 5}} {
			results := make([][]float64, 2)
			for k, norm := range []func(x, γ, β *gorgonia.Node) (*gorgonia.Node, statistics){
				func(x, γ, β *gorgonia.Node) (*gorgonia.Node, statistics) {
					out, _, _, op, err := gorgonia.BatchNorm(x, γ, β, 0.2, 1e-3)
					if err != nil {
						t.Fatal(err)
					}
					return out, op
				},
				func(x, γ, β *gorgonia.Node) (*gorgonia.Node, statistics) {
					out, _, _, op, err := SyncBatchNorm(x, γ, β, 0.2, 1e-3)
					if err != nil {
						t.Fatal(err)
					}
					return out, op
				},
			} {
				results[k] = normValues(t, dtype, shape, norm)
			}
			for i, want := range results[0] {
				if tolerance := toleranceOf("SGD", dtype); math.Abs(results[1][i]-want) > 10*tolerance*(1+math.Abs(want)) {
					t.Fatalf("%v %v: number %d is %v, Gorgonia's %v", dtype, shape, i, results[1][i], want)
				}
			}
		}
	}
}

func normValues(t *testing.T, dtype tensor.Dtype, shape tensor.Shape, norm func(x, γ, β *gorgonia.Node) (*gorgonia.Node, statistics)) (all []float64) {
	t.Helper()
	n := &net{dtype: dtype, graph: gorgonia.NewGraph()}
	rng := rand.New(rand.NewPCG(5, 1))
	each := tensor.Shape{1, shape[1], 1, 1}[:len(shape)]
	x, γ, β := n.param("x", rng, shape...), n.param("γ", rng, each...), n.param("β", rng, each...)
	out, op := norm(x, γ, β)
	cube := gorgonia.Must(gorgonia.HadamardProd(gorgonia.Must(gorgonia.Square(out)), out))
	loss := gorgonia.Must(gorgonia.Sum(gorgonia.Must(gorgonia.Reshape(cube, tensor.Shape{shape.TotalSize()}))))
	var value gorgonia.Value
	gorgonia.Read(loss, &value)
	if _, err := gorgonia.Grad(loss, n.params...); err != nil {
		t.Fatal(err)
	}
	n.start(t, gorgonia.BindDualValues(n.params...))
	if err := n.vm.RunAll(); err != nil {
		t.Fatal(err)
	}
	take := func(v gorgonia.Value) {
		a, err := arrayOf(v)
		if err != nil {
			t.Fatal(err)
		}
		for i := range a.len() {
			all = append(all, a.at(i))
		}
	}
	take(value)
	for _, p := range n.params {
		g, err := p.Grad()
		if err != nil {
			t.Fatal(err)
		}
		take(g)
	}
	mean, variance := op.Stats()
	take(mean)
	take(variance)
	return all
}
