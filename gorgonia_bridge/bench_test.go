package bridge

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/ringrun/ringrun/elastic"
	"github.com/ringrun/ringrun/gorgonia_bridge/blas"
	ours "github.com/ringrun/ringrun/gorgonia_bridge/solver"
)

// perceptron is a net of the usual size, without a bridge.
func perceptron(b *testing.B, rows int, widths ...int) *net {
	b.Helper()
	n := &net{dtype: tensor.Float32, rows: rows, graph: gorgonia.NewGraph()}
	x := newArray(n.dtype, rows*widths[0])
	for i := range x.len() {
		x.set(i, float64(i%17)/17-0.5)
	}
	out := n.tensor("x", x, rows, widths[0])
	for i, w := range widths[1:] {
		if i > 0 {
			out = gorgonia.Must(gorgonia.Rectify(out))
		}
		a := newArray(n.dtype, widths[i]*w)
		for j := range a.len() {
			a.set(j, float64(j*7919%101)/2000-0.025)
		}
		weights, bias := n.tensor(fmt.Sprint("w", i), a, widths[i], w), n.tensor(fmt.Sprint("b", i), newArray(n.dtype, w), 1, w)
		n.params = append(n.params, weights, bias)
		out = gorgonia.Must(gorgonia.BroadcastAdd(gorgonia.Must(gorgonia.Mul(out, weights)), bias, nil, []byte{0}))
	}
	loss := gorgonia.Must(gorgonia.Mean(gorgonia.Must(gorgonia.Square(out))))
	if _, err := gorgonia.Grad(loss, n.params...); err != nil {
		b.Fatal(err)
	}
	return n
}

// BenchmarkAlone takes steps without a bridge and with one, of one peer, in
// turns: what the bridge costs where there is nobody to talk to.
func BenchmarkAlone(b *testing.B) {
	defer gorgonia.Use(gorgonia.WhichBLAS())
	gorgonia.Use(blas.Implementation{})
	var loops [2]func() error
	for i := range loops {
		n := perceptron(b, 64, 784, 512, 512, 10)
		var s gorgonia.Solver = ours.NewSGD(ours.WithLearnRate(1e-6))
		if i == 0 {
			n.vm = gorgonia.NewTapeMachine(n.graph, gorgonia.BindDualValues(n.params...), gorgonia.WithEngine(blas.Engine{}))
		} else {
			_, comms := newComms(b, 1)
			group := &testGroup{comms: comms, weights: elastic.Weights{Mine: 1, Total: 1}}
			br, err := attach(group, n.params)
			if err != nil {
				b.Fatal(err)
			}
			n.vm = gorgonia.NewTapeMachine(n.graph, br.VM())
			s = br.Solver(s)
		}
		loops[i] = func() error { return n.run(s) }
	}
	var times [2][]time.Duration
	for b.Loop() {
		for i, step := range loops {
			for range 5 {
				began := time.Now()
				if err := step(); err != nil {
					b.Fatal(err)
				}
				times[i] = append(times[i], time.Since(began))
			}
		}
	}
	slices.Sort(times[0])
	slices.Sort(times[1])
	plain, bridged := times[0][len(times[0])/2], times[1][len(times[1])/2]
	b.ReportMetric(float64(plain.Microseconds()), "plain-µs/step")
	b.ReportMetric(float64(bridged.Microseconds()), "bridge-µs/step")
	b.ReportMetric(100*(float64(bridged)/float64(plain)-1), "%overhead")
}

// Batch norm of 32 images of 64 channels, forward and backward: ours, and
// Gorgonia's.
func BenchmarkBatchNorm(b *testing.B) {
	for name, sync := range map[string]bool{"bridge": true, "gorgonia": false} {
		b.Run("by="+name, func(b *testing.B) {
			n := &net{dtype: tensor.Float32, graph: gorgonia.NewGraph()}
			rng := rand.New(rand.NewPCG(5, 1))
			x, γ, β := n.param("x", rng, 32, 64, 14, 14), n.param("γ", rng, 1, 64, 1, 1), n.param("β", rng, 1, 64, 1, 1)
			var out *gorgonia.Node
			var err error
			if sync {
				out, _, _, _, err = SyncBatchNorm(x, γ, β, 0.1, 1e-5)
			} else {
				out, _, _, _, err = gorgonia.BatchNorm(x, γ, β, 0.1, 1e-5)
			}
			if err != nil {
				b.Fatal(err)
			}
			flat := gorgonia.Must(gorgonia.Reshape(out, tensor.Shape{out.Shape().TotalSize()}))
			if _, err := gorgonia.Grad(gorgonia.Must(gorgonia.Sum(flat)), n.params...); err != nil {
				b.Fatal(err)
			}
			n.start(b, gorgonia.BindDualValues(n.params...))
			for b.Loop() {
				if err := n.vm.RunAll(); err != nil {
					b.Fatal(err)
				}
				n.vm.Reset()
			}
		})
	}
}
