package bench

import (
	"fmt"
	"math"
	"slices"
	"time"

	"gonum.org/v1/gonum/blas/gonum"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/ringrun/ringrun/elastic"
	bridge "github.com/ringrun/ringrun/gorgonia_bridge"
	"github.com/ringrun/ringrun/gorgonia_bridge/blas"
	"github.com/ringrun/ringrun/gorgonia_bridge/solver"
)

// A Perceptron trains a real one in Gorgonia, through the bridge, with a batch
// on each peer: ReLU between the layers, cross-entropy, SGD. Weights and batch
// are those of versus/torch_train.py.
type Perceptron struct {
	Widths []int         `json:"widths"`
	Batch  int           `json:"batch"` // of each peer
	Time   time.Duration `json:"time"`  // of what is measured
	Warmup int           `json:"warmup"`
	Rate   float64       `json:"rate"`
	Gonum  bool          `json:"gonum"` // multiply with gonum, not with our assembly
}

// WithDefaults sets what is zero.
func (p Perceptron) WithDefaults() Perceptron {
	if p.Time == 0 {
		p.Time = time.Second
	}
	if p.Warmup == 0 {
		p.Warmup = 10
	}
	if p.Rate == 0 {
		p.Rate = 0.05
	}
	return p
}

// TrainResult is what one program reached with one Perceptron.
type TrainResult struct {
	Peer     string  `json:"peer"`
	Size     int     `json:"np"`
	MedianMS float64 `json:"median_ms"`     // of a step
	Rate     float64 `json:"samples_per_s"` // of all peers
	Loss     float64 `json:"loss"`          // mean over the peers, in the last step of the warm-up
	Steps    int     `json:"steps"`         // that were measured
}

// Run takes part in the training; rank 0 reports.
func (p Perceptron) Run(g *elastic.Group, report func(Result)) error {
	p = p.WithDefaults()
	gorgonia.Use(blas.Implementation{})
	if p.Gonum {
		gorgonia.Use(gonum.Implementation{})
	}
	n, err := p.build()
	if err != nil {
		return err
	}
	if err := n.attach(g); err != nil {
		return err
	}
	defer n.vm.Close()
	n.fill(0)
	if err := n.step(); err != nil { // at a rate of 0: it only tells the rank
		return err
	}
	n.fill(g.Rank())
	for range p.Warmup {
		if err := n.step(); err != nil {
			return err
		}
	}
	loss := n.bridge.Metric("loss")
	times, wall, err := n.measure()
	if err == nil && g.Rank() == 0 {
		report(Result{Train: p.result(g.Size(), loss, times, wall)})
	}
	return err
}

func (p Perceptron) result(peers int, loss float64, times []time.Duration, wall time.Duration) *TrainResult {
	r := &TrainResult{Peer: "ringrun", Size: peers, MedianMS: millis(quantile(times, 0.5)), Loss: loss, Steps: len(times)}
	if p.Gonum {
		r.Peer = "ringrun-gonum"
	}
	r.Rate = share(float64(len(times)*p.Batch*peers), wall.Seconds())
	return r
}

// perceptron is a Perceptron that trains.
type perceptron struct {
	Perceptron
	graph      *gorgonia.ExprGraph
	params     gorgonia.Nodes
	x, y       []float32
	loss, late gorgonia.Value // late: 1 when this peer's time is over
	vm         gorgonia.VM
	bridge     *bridge.Bridge
	solver     gorgonia.Solver
}

func (p Perceptron) build() (*perceptron, error) {
	n := &perceptron{Perceptron: p, graph: gorgonia.NewGraph(), late: gorgonia.NewF64(0)}
	last := p.Widths[len(p.Widths)-1]
	n.x, n.y = make([]float32, p.Batch*p.Widths[0]), make([]float32, p.Batch*last)
	out := n.node("x", n.x, p.Batch, p.Widths[0])
	var err error
	for i, width := range p.Widths[1:] {
		if i > 0 {
			if out, err = gorgonia.Rectify(out); err != nil {
				return nil, err
			}
		}
		if out, err = n.layer(out, i, width); err != nil {
			return nil, err
		}
	}
	return n, n.cost(out, n.node("y", n.y, p.Batch, last))
}

func (n *perceptron) node(name string, memory []float32, shape ...int) *gorgonia.Node {
	t := tensor.New(tensor.WithShape(shape...), tensor.WithBacking(memory))
	return gorgonia.NodeFromAny(n.graph, t, gorgonia.WithName(name))
}

func (n *perceptron) layer(x *gorgonia.Node, i, width int) (*gorgonia.Node, error) {
	in := x.Shape()[1]
	weights := make([]float32, in*width)
	noise(weights, i+1, float32(math.Sqrt(24/float64(in))))
	w := n.node(fmt.Sprint("w", i), weights, in, width)
	b := n.node(fmt.Sprint("b", i), make([]float32, width), 1, width)
	n.params = append(n.params, w, b)
	xw, err := gorgonia.Mul(x, w)
	if err != nil {
		return nil, err
	}
	return gorgonia.BroadcastAdd(xw, b, nil, []byte{0})
}

func (n *perceptron) cost(x, y *gorgonia.Node) error {
	logp, err := gorgonia.LogSoftMax(x)
	if err != nil {
		return err
	}
	hits, err := gorgonia.HadamardProd(y, logp)
	if err != nil {
		return err
	}
	sum, err := gorgonia.Sum(hits)
	if err != nil {
		return err
	}
	loss, err := gorgonia.Mul(sum, gorgonia.NewConstant(-1/float32(n.Batch)))
	if err != nil {
		return err
	}
	gorgonia.Read(loss, &n.loss)
	_, err = gorgonia.Grad(loss, n.params...)
	return err
}

// attach joins the others. The first step has a rate of 0.
func (n *perceptron) attach(g *elastic.Group) error {
	var err error
	n.bridge, err = bridge.Attach(g, n.params, bridge.Average("loss", &n.loss), bridge.Average("late", &n.late))
	if err != nil {
		return err
	}
	pruned, err := bridge.Pruned(n.graph, n.params)
	if err != nil {
		return err
	}
	n.vm = gorgonia.NewTapeMachine(n.graph, pruned, n.bridge.VM())
	n.solver = n.bridge.Solver(solver.NewSGD(solver.WithSchedule(func(step int) float64 {
		if step == 0 {
			return 0
		}
		return n.Rate
	})))
	return nil
}

// fill makes a peer's batch, of which the labels are no secret of the data: it
// is to be computed, not to be learned.
func (n *perceptron) fill(rank int) {
	noise(n.x, 100+rank, 1)
	clear(n.y)
	last := n.Widths[len(n.Widths)-1]
	for row := range n.Batch {
		n.y[row*last+(row*7+rank)%last] = 1
	}
}

// noise fills x with numbers from -scale/2 to scale/2, the same on every machine.
func noise(x []float32, seed int, scale float32) {
	for i := range x {
		v := uint32(uint64(i)*2654435761 + uint64(seed)*40503 + 12345)
		v = v*69069 + 1
		x[i] = float32(float64(v)/(1<<32)-0.5) * scale
	}
}

func (n *perceptron) step() error {
	if err := n.vm.RunAll(); err != nil {
		return err
	}
	if err := n.solver.Step(gorgonia.NodesToValueGrads(n.params)); err != nil {
		return err
	}
	n.vm.Reset()
	return nil
}

// measure takes steps until the time of one peer is over, which all learn in the
// same step.
func (n *perceptron) measure() (times []time.Duration, wall time.Duration, err error) {
	began := time.Now()
	for last := began; n.bridge.Metric("late") == 0; {
		if time.Since(began) > n.Time {
			n.late = gorgonia.NewF64(1)
		}
		if err := n.step(); err != nil {
			return nil, 0, err
		}
		now := time.Now()
		times = append(times, now.Sub(last))
		last = now
	}
	slices.Sort(times)
	return times, time.Since(began), nil
}
