package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"time"

	"gorgonia.org/gorgonia"

	"github.com/ringrun/ringrun/elastic"
	bridge "github.com/ringrun/ringrun/gorgonia_bridge"
)

// train is the loop. What it needs besides Gorgonia is Attach, an option for the
// machine, the wrapped solver, and Shards, which says which samples are this peer's.
func train(ctx context.Context, g *elastic.Group, s settings, data *samples, out io.Writer) (*trained, error) {
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
	solver := b.Solver(s.newSolver(data.count(), g.LearningRateScale))
	progress := newProgress(g, b, s.shard, out)

	for shard, err := range g.Shards(ctx, s.samples(data)) {
		if err != nil {
			return nil, err
		}
		progress.pass()
		data.fill(m.xs, m.ys, shard.Samples)
		if err := m.vm.RunAll(); err != nil {
			return nil, err
		}
		if err := solver.Step(gorgonia.NodesToValueGrads(m.params)); err != nil {
			return nil, err
		}
		m.vm.Reset()
		if shard.Last {
			progress.step(shard.Epoch)
		}
	}
	return &trained{model: m, bridge: b, summary: progress.summary()}, nil
}

func (s settings) samples(data *samples) elastic.Samples {
	return elastic.Samples{
		Count:  data.count(),
		Batch:  s.batch,
		Shard:  s.shard,
		Epochs: s.epochs,
		Steps:  s.steps,
		Seed:   s.seed,
	}
}

// trained is what is left when training is over.
type trained struct {
	model   *model
	bridge  *bridge.Bridge
	summary summary
}

// A summary is the last line that every peer prints.
type summary struct {
	Rank             int      `json:"rank"`
	Size             int      `json:"size"`
	Epoch            uint64   `json:"epoch"`              // of the view
	Steps            uint64   `json:"steps"`              // since the run began
	Samples          int      `json:"samples"`            // of all peers, in the steps that this one took part in
	Loss             *float64 `json:"loss"`               // mean over the last step; null if there was none, or not finite
	Accuracy         float64  `json:"accuracy"`           // share of the test samples that are right
	SamplesPerSecond float64  `json:"samples_per_second"` // of all peers
	Params           string   `json:"params"`             // SHA-256 of the parameters in order
	Seconds          float64  `json:"seconds"`            // of training
	Retries          uint64   `json:"retries"`            // steps that were reduced again because a ring broke
	Drained          bool     `json:"drained,omitempty"`  // this peer has left before the end, as it was asked to, or come back after it
}

// finish evaluates what was learned and, if path is not empty, saves it.
func (t *trained) finish(s settings, test *samples) (summary, error) {
	out := t.summary
	var err error
	if out.Accuracy, err = accuracy(t.model.params, s.shape, test); err != nil {
		return summary{}, err
	}
	out.Params = t.bridge.ParamsHash()
	if s.save != "" && !out.Drained { // else the parameters are not those of the end
		err = t.save(s.save)
	}
	return out, err
}

// save writes the parameters. The file appears only when it is complete, because
// several peers on one machine may write it, all the same bytes.
func (t *trained) save(path string) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	w := bufio.NewWriter(f)
	err = errors.Join(t.bridge.WriteParams(w), w.Flush(), f.Chmod(0o644), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// finite returns a pointer to x, or nil, which JSON can say and NaN it cannot.
func finite(x float64) *float64 {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return nil
	}
	return &x
}

// since returns the seconds since t, never 0.
func since(t time.Time) float64 { return max(time.Since(t).Seconds(), 1e-9) }
