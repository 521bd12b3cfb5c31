package bridge_test

import (
	"context"
	"fmt"
	"log"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/ringrun/ringrun/elastic"
	bridge "github.com/ringrun/ringrun/gorgonia_bridge"
)

// A line through points, in Gorgonia's own words but for Attach, b.Solver and
// Shards. Alone this is a group of one; under ringrun, of as many as it starts.
func Example() {
	cfg, err := elastic.FromEnv()
	if err != nil {
		log.Fatal(err)
	}
	if err := elastic.Run(context.Background(), cfg, fitLine); err != nil {
		log.Fatal(err)
	}
	// Output: y = 2.00 x + 1.00
}

func fitLine(ctx context.Context, group *elastic.Group) error {
	const rows = 4
	g := gorgonia.NewGraph()
	xs, ys := make([]float64, rows), make([]float64, rows)
	x := gorgonia.NodeFromAny(g, tensor.New(tensor.WithBacking(xs)), gorgonia.WithName("x"))
	y := gorgonia.NodeFromAny(g, tensor.New(tensor.WithBacking(ys)), gorgonia.WithName("y"))
	slope := gorgonia.NewScalar(g, gorgonia.Float64, gorgonia.WithName("slope"), gorgonia.WithValue(0.0))
	start := gorgonia.NewScalar(g, gorgonia.Float64, gorgonia.WithName("start"), gorgonia.WithValue(0.0))
	line := gorgonia.Must(gorgonia.Add(gorgonia.Must(gorgonia.Mul(x, slope)), start))
	miss := gorgonia.Must(gorgonia.Square(gorgonia.Must(gorgonia.Sub(line, y))))
	cost := gorgonia.Must(gorgonia.Mean(miss))
	if _, err := gorgonia.Grad(cost, slope, start); err != nil {
		return err
	}
	params := gorgonia.Nodes{slope, start}
	vm := gorgonia.NewTapeMachine(g, gorgonia.BindDualValues(params...))
	defer vm.Close()

	b, err := bridge.Attach(group, params)
	if err != nil {
		return err
	}
	solver := b.Solver(gorgonia.NewVanillaSolver(gorgonia.WithLearnRate(0.3)))
	for shard, err := range group.Shards(ctx, elastic.Samples{Count: 40, Batch: 8, Shard: rows, Epochs: 60}) {
		if err != nil {
			return err
		}
		for row, i := range shard.Samples {
			xs[row] = float64(i) / 40
			ys[row] = 2*xs[row] + 1
		}
		if err := vm.RunAll(); err != nil {
			return err
		}
		if err := solver.Step(gorgonia.NodesToValueGrads(params)); err != nil {
			return err
		}
		vm.Reset()
	}
	fmt.Printf("y = %.2f x + %.2f\n", slope.Value(), start.Value())
	return nil
}
