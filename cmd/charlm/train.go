package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"math/rand/v2"

	"gorgonia.org/gorgonia"

	"github.com/ringrun/ringrun/elastic"
	bridge "github.com/ringrun/ringrun/gorgonia_bridge"
	"github.com/ringrun/ringrun/gorgonia_bridge/solver"
)

// train is the loop. What it needs besides Gorgonia is Attach, an option for the
// machine, the wrapped solver, and Shards, which says which characters are this peer's.
func train(ctx context.Context, g *elastic.Group, s settings, data *text, out io.Writer) (*trained, error) {
	s.shape = data.shaped(s.shape)
	m, err := newModel(s.shard, s.shape, s.seed, true)
	if err != nil {
		return nil, err
	}
	b, err := bridge.Attach(g, m.params, bridge.Average("loss", &m.loss))
	if err != nil {
		return nil, err
	}
	m.start(b.VM())
	defer m.vm.Close()
	solver := b.Solver(s.solver(g.LearningRateScale))
	progress := newProgress(g, b, s, out)

	for shard, err := range g.Shards(ctx, s.samples(data)) {
		if err != nil {
			return nil, err
		}
		progress.pass()
		s.shape.fill(data.train, m.xs, m.ys, shard.Samples)
		if err := m.vm.RunAll(); err != nil {
			return nil, err
		}
		if err := solver.Step(gorgonia.NodesToValueGrads(m.params)); err != nil {
			return nil, err
		}
		m.vm.Reset()
		if shard.Last {
			progress.step()
		}
	}
	return &trained{model: m, bridge: b, summary: progress.summary()}, nil
}

// shaped completes a shape with what the text decides.
func (t *text) shaped(s shape) shape {
	s.symbols, s.sum = t.symbols(), t.sum
	return s
}

// solver returns AdamW, the rate of which grows with the root of how many times
// -batch a step has.
func (s settings) solver(times func() float64) gorgonia.Solver {
	steps := int(s.steps)
	return solver.NewAdamW(
		solver.WithBatchScale(func() float64 { return math.Sqrt(times()) }, steps/20),
		solver.WithSchedule(solver.WarmUp(solver.Cosine(s.lr, 0, steps), steps/20)),
		solver.WithClipNorm(1),
		solver.WithExclude(solver.Vectors),
	)
}

func (s settings) samples(data *text) elastic.Samples {
	return elastic.Samples{Count: data.samples(s.shape.context), Batch: s.batch, Shard: s.shard, Steps: s.steps, Seed: s.seed}
}

// trained is what is left when training is over.
type trained struct {
	model   *model
	bridge  *bridge.Bridge
	summary summary
}

// A summary is the last line that every peer prints.
type summary struct {
	Rank                int      `json:"rank"`
	Size                int      `json:"size"`
	Epoch               uint64   `json:"epoch"`      // of the view
	Steps               uint64   `json:"steps"`      // since the run began
	Characters          int      `json:"characters"` // of all peers, in the steps that this one took part in
	Bits                *float64 `json:"bits"`       // per character learned, over the last steps; null if there was none
	TestBits            float64  `json:"test_bits"`  // per character of what follows the text that was learned
	CharactersPerSecond float64  `json:"characters_per_second"`
	Params              string   `json:"params"` // SHA-256 of the parameters in order
	Seconds             float64  `json:"seconds"`
}

// finish tests what was learned, and lets the first peer write.
func (t *trained) finish(s settings, data *text, out io.Writer) (summary, error) {
	s.shape = data.shaped(s.shape)
	sum := t.summary
	var err error
	if sum.TestBits, err = s.shape.bits(t.model.params, data.test); err != nil {
		return summary{}, err
	}
	sum.Params = t.bridge.ParamsHash()
	if s.sample == 0 || sum.Rank != 0 {
		return sum, nil
	}
	symbols, err := s.shape.write(t.model.params, data.test, s.sample, rand.New(rand.NewPCG(s.seed, 's')))
	if err != nil {
		return summary{}, err
	}
	_, err = fmt.Fprintf(out, "%s\n", data.characters(symbols))
	return sum, err
}

// characters returns what the symbols stand for.
func (t *text) characters(symbols []byte) []byte {
	out := make([]byte, len(symbols))
	for i, c := range symbols {
		out[i] = '?'
		if int(c) < t.unknown() {
			out[i] = t.alphabet[c]
		}
	}
	return out
}
