package bridge

import (
	"context"
	"fmt"
	"hash"
	"hash/fnv"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/ringrun/ringrun/elastic"
	"github.com/ringrun/ringrun/gorgonia_bridge/blas"
	ours "github.com/ringrun/ringrun/gorgonia_bridge/solver"
)

// TestShapedLinks is one peer of a measurement: bench/shaped.sh runs it in
// network namespaces of which the links are slow. RINGRUN_SHAPED says what to
// train: "sleep 40000", ten layers of so many parameters that are slept through,
// 10 ms forward and 20 ms backward, or "conv", a convolutional net. Further words:
// "late" leaves out the option VM, "measured" gives MeasuredBuckets.
func TestShapedLinks(t *testing.T) {
	what := os.Getenv("RINGRUN_SHAPED")
	if what == "" {
		t.Skip("see bench/shaped.sh")
	}
	defer G.Use(G.WhichBLAS())
	G.Use(blas.Implementation{})
	cfg, err := elastic.FromEnv()
	if err != nil {
		t.Fatal(err)
	}
	err = elastic.Run(t.Context(), cfg, func(ctx context.Context, g *elastic.Group) error { return shaped(ctx, g, what) })
	if err != nil {
		t.Fatal(err)
	}
}

func shaped(ctx context.Context, g *elastic.Group, what string) error {
	words := strings.Fields(what)
	graph, params := G.NewGraph(), G.Nodes(nil)
	switch words[0] {
	case "sleep":
		n, err := strconv.Atoi(words[1])
		if err != nil {
			return err
		}
		params = sleepers(graph, n)
	case "conv":
		params = convolutions(graph)
	default:
		return fmt.Errorf("RINGRUN_SHAPED is %q", what)
	}
	var opts []Option
	if slices.Contains(words, "measured") {
		opts = append(opts, MeasuredBuckets())
	}
	b, err := Attach(g, params, opts...)
	if err != nil {
		return err
	}
	machine := []G.VMOpt{b.VM()}
	if slices.Contains(words, "late") {
		machine = []G.VMOpt{G.BindDualValues(params...), G.WithEngine(blas.Engine{})}
	}
	vm := G.NewTapeMachine(graph, machine...)
	defer vm.Close()
	s := b.Solver(ours.NewSGD(ours.WithLearnRate(1e-6)))
	if err := g.Sync(ctx); err != nil {
		return err
	}
	const warm, steps = 5, 30
	var before Stats
	var times, runs []time.Duration
	for step := range warm + steps {
		if step == warm {
			before = b.Stats()
		}
		began := time.Now()
		if err := vm.RunAll(); err != nil {
			return err
		}
		ran := time.Since(began)
		if err := s.Step(G.NodesToValueGrads(params)); err != nil {
			return err
		}
		vm.Reset()
		if step >= warm {
			times, runs = append(times, time.Since(began)), append(runs, ran)
		}
	}
	if g.Rank() == 0 {
		slices.Sort(times)
		slices.Sort(runs)
		st := b.Stats()
		comm, exposed := (st.Comm-before.Comm)/steps, (st.Exposed-before.Exposed)/steps
		fmt.Printf("%-18s step %v, of which RunAll %v; %d buckets from %d bytes; communication %v, exposed %v\n", what,
			times[steps/2].Round(10*time.Microsecond), runs[steps/2].Round(10*time.Microsecond), st.Buckets, b.cutBy.others,
			comm.Round(10*time.Microsecond), exposed.Round(10*time.Microsecond))
	}
	return nil
}

// sleepers is a net of ten layers that computes next to nothing, slowly.
func sleepers(g *G.ExprGraph, n int) G.Nodes {
	const rows, inputs = 1, 16
	var params G.Nodes
	x := input(g, "x", rows, inputs)
	for i := range 10 {
		w := input(g, fmt.Sprint("w", i), inputs, n/inputs)
		params = append(params, w)
		h := G.Must(G.Mul(x, w))
		h = G.Must(G.ApplyOp(pause{G.Must(G.Tanh(h)).Op().(G.SDOp), 10 * time.Millisecond, 20 * time.Millisecond}, h))
		x = G.Must(G.Slice(h, nil, G.S(0, inputs)))
		x = G.Must(G.Reshape(x, tensor.Shape{rows, inputs}))
	}
	if _, err := G.Grad(G.Must(G.Sum(x)), params...); err != nil {
		panic(err)
	}
	return params
}

// A pause is an op that sleeps before it works, in each direction.
type pause struct {
	G.SDOp
	forward, backward time.Duration
}

// WriteHash makes it another op than the one that works.
func (p pause) WriteHash(h hash.Hash) { fmt.Fprintf(h, "pause of %v before %v", p.forward, p.SDOp) }

// Hashcode is a hash of what WriteHash writes.
func (p pause) Hashcode() uint32 {
	h := fnv.New32a()
	p.WriteHash(h)
	return h.Sum32()
}

func (p pause) Do(in ...G.Value) (G.Value, error) {
	time.Sleep(p.forward)
	return p.SDOp.Do(in...)
}

func (p pause) SymDiff(in G.Nodes, out, grad *G.Node) (G.Nodes, error) {
	grad, err := G.ApplyOp(pause{SDOp: p.SDOp, forward: p.backward}, grad)
	if err != nil {
		return nil, err
	}
	return p.SDOp.SymDiff(in, out, grad)
}

func input(g *G.ExprGraph, name string, shape ...int) *G.Node {
	x := make([]float32, tensor.Shape(shape).TotalSize())
	for i := range x {
		x[i] = float32(i*7919%101)/1000 - 0.05
	}
	return G.NodeFromAny(g, tensor.New(tensor.WithShape(shape...), tensor.WithBacking(x)), G.WithName(name))
}

// convolutions is examples/convnet of Gorgonia without dropout: 32, 64 and 128
// filters of 3×3, a dense layer of 625, ten classes, 32 images.
func convolutions(g *G.ExprGraph) G.Nodes {
	rows := 32
	if s := os.Getenv("RINGRUN_SHAPED_ROWS"); s != "" {
		rows, _ = strconv.Atoi(s)
	}
	x := input(g, "x", rows, 1, 28, 28)
	var params G.Nodes
	in := 1
	for i, filters := range []int{32, 64, 128} {
		w := input(g, fmt.Sprint("w", i), filters, in, 3, 3)
		params, in = append(params, w), filters
		x = G.Must(G.Rectify(G.Must(G.Conv2d(x, w, tensor.Shape{3, 3}, []int{1, 1}, []int{1, 1}, []int{1, 1}))))
		x = G.Must(G.MaxPool2D(x, tensor.Shape{2, 2}, []int{0, 0}, []int{2, 2}))
	}
	w3, w4 := input(g, "w3", 1152, 625), input(g, "w4", 625, 10)
	x = G.Must(G.Reshape(x, tensor.Shape{rows, 1152}))
	x = G.Must(G.Mul(G.Must(G.Rectify(G.Must(G.Mul(x, w3)))), w4))
	params = append(params, w3, w4)
	if _, err := G.Grad(G.Must(G.Mean(G.Must(G.Square(x)))), params...); err != nil {
		panic(err)
	}
	return params
}
