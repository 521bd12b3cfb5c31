package elastic_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/ringrun/ringrun/allreduce"
	"github.com/ringrun/ringrun/elastic"
)

// A line is y = a·x + b. It is its own State.
type line struct{ A, B float64 }

func (l *line) Save(w io.Writer) error { return binary.Write(w, binary.LittleEndian, l) }
func (l *line) Load(r io.Reader) error { return binary.Read(r, binary.LittleEndian, l) }

// gradient adds what one sample says to the gradient of the squared error.
func (l *line) gradient(grad []float64, x, y float64) {
	wrong := l.A*x + l.B - y
	grad[0] += wrong * x
	grad[1] += wrong
}

// A loop without Gorgonia. Started by ringrun it runs on any number of peers, which
// may come and go; by itself it is a group of one.
func ExampleRun() {
	cfg, err := elastic.FromEnv()
	if err != nil {
		fmt.Println(err)
		return
	}
	var model line
	err = elastic.Run(context.Background(), cfg, func(ctx context.Context, g *elastic.Group) error {
		return fit(ctx, g, &model)
	})
	fmt.Printf("y = %.2f x + %.2f, error %v\n", model.A, model.B, err)
	// Output: y = 2.00 x + 1.00, error <nil>
}

func fit(ctx context.Context, g *elastic.Group, model *line) error {
	g.SetState(model)
	mine, mean := make([]float64, 2), make([]float64, 2)
	g.SetCheck(elastic.Check{Reduced: func() []elastic.Sum {
		return []elastic.Sum{{Part: "gradient", Hash: allreduce.Of(mean).Hash()}}
	}})
	data := elastic.Samples{Count: 100, Batch: 20, Shard: 5, Epochs: 100, Seed: 1}
	for shard, err := range g.Shards(ctx, data) {
		if err != nil {
			return err
		}
		for _, i := range shard.Samples {
			x := float64(i) / 100
			model.gradient(mine, x, 2*x+1)
		}
		if !shard.Last {
			continue
		}
		_, err := g.Commit(ctx, func(c *allreduce.Comm, w elastic.Weights) error {
			for i, x := range mine { // mine stays: this may be called again
				mean[i] = x / (w.Total * float64(data.Shard))
			}
			return c.AllReduce(ctx, allreduce.Of(mean), allreduce.Sum)
		}, func() error {
			rate := 0.5 * g.LearningRateScale()
			model.A -= rate * mean[0]
			model.B -= rate * mean[1]
			return nil
		})
		if err != nil {
			return err
		}
		clear(mine)
	}
	return nil
}
