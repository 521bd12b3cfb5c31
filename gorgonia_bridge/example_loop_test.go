package bridge_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"strings"
	"testing"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/ringrun/ringrun/elastic"
	bridge "github.com/ringrun/ringrun/gorgonia_bridge"
	"github.com/ringrun/ringrun/gorgonia_bridge/blas"
)

const loopRows = 32

// build makes a graph that learns which of two numbers is larger.
func build() (g *gorgonia.ExprGraph, x, y *gorgonia.Node, params gorgonia.Nodes, loss *gorgonia.Value) {
	g = gorgonia.NewGraph()
	x = gorgonia.NewMatrix(g, gorgonia.Float32, gorgonia.WithShape(loopRows, 2), gorgonia.WithName("x"))
	y = gorgonia.NewMatrix(g, gorgonia.Float32, gorgonia.WithShape(loopRows, 2), gorgonia.WithName("y"))
	w := gorgonia.NewMatrix(g, gorgonia.Float32, gorgonia.WithShape(2, 2), gorgonia.WithName("w"), gorgonia.WithInit(gorgonia.Zeroes()))
	logp := gorgonia.Must(gorgonia.LogSoftMax(gorgonia.Must(gorgonia.Mul(x, w))))
	cost := gorgonia.Must(gorgonia.Neg(gorgonia.Must(gorgonia.Sum(gorgonia.Must(gorgonia.HadamardProd(logp, y))))))
	cost = gorgonia.Must(gorgonia.Mul(cost, gorgonia.NewConstant(float32(1)/loopRows)))
	loss = new(gorgonia.Value)
	gorgonia.Read(cost, loss)
	params = gorgonia.Nodes{w}
	if _, err := gorgonia.Grad(cost, params...); err != nil {
		log.Fatal(err)
	}
	return g, x, y, params, loss
}

// load gives the rows of some samples, and zeros behind them.
func load(x, y *gorgonia.Node, samples []int) {
	xs, ys := make([]float32, 2*loopRows), make([]float32, 2*loopRows)
	for row, i := range samples {
		a, b := float32(i%7), float32(i%5)+0.5
		xs[2*row], xs[2*row+1] = a, b
		if a > b {
			ys[2*row] = 1
		} else {
			ys[2*row+1] = 1
		}
	}
	gorgonia.Let(x, tensor.New(tensor.WithShape(loopRows, 2), tensor.WithBacking(xs)))
	gorgonia.Let(y, tensor.New(tensor.WithShape(loopRows, 2), tensor.WithBacking(ys)))
}

// The loop of docs/gorgonia.md.
func train(ctx context.Context, group *elastic.Group) error {
	g, x, y, params, loss := build()
	b, err := bridge.Attach(group, params, bridge.Average("loss", loss))
	if err != nil {
		return err
	}
	vm := gorgonia.NewTapeMachine(g, b.VM())
	defer vm.Close()
	solver := b.Solver(gorgonia.NewAdamSolver())
	samples := elastic.Samples{Count: 60000, Batch: 256, Shard: 32, Epochs: 5}
	samples.Count = 2048 // in the manual it is MNIST
	for shard, err := range group.Shards(ctx, samples) {
		if err != nil {
			return err
		}
		load(x, y, shard.Samples)
		if err := vm.RunAll(); err != nil {
			return err
		}
		if err := solver.Step(gorgonia.NodesToValueGrads(params)); err != nil {
			return err
		}
		vm.Reset()
	}
	fmt.Printf("%d steps, every gradient in time: %t\n", group.Steps(), b.Stats().Late+b.Stats().Held == 0)
	return nil
}

func ExampleAttach() {
	gorgonia.Use(blas.Implementation{})
	cfg, err := elastic.FromEnv()
	if err == nil {
		err = elastic.Run(context.Background(), cfg, train)
	}
	if err != nil {
		log.Fatal(err)
	}
	// Output: 40 steps, every gradient in time: true
}

// What the manual shows is what ExampleAttach runs, line by line.
func TestManualCompiles(t *testing.T) {
	manual, err := os.ReadFile("../docs/gorgonia.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("example_loop_test.go")
	if err != nil {
		t.Fatal(err)
	}
	_, block, _ := strings.Cut(string(manual), "```go\n")
	block, _, _ = strings.Cut(block, "```")
	rest, lines := string(source), 0
	for line := range strings.Lines(block) {
		line, _, _ = strings.Cut(line, "//")
		if line = strings.TrimSpace(line); line == "" || line == "…" || strings.HasPrefix(line, "func main") {
			continue
		}
		_, after, found := strings.Cut(rest, line)
		if !found {
			t.Fatalf("the manual has %q, which is not in the example after what is before it", line)
		}
		rest, lines = after, lines+1
	}
	if lines < 25 {
		t.Errorf("only %d lines of the manual were compared", lines)
	}
}
