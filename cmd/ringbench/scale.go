package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/ringrun/ringrun/bench"
	"github.com/urfave/cli/v3"
)

func (p *program) scaleCommand() *cli.Command {
	return &cli.Command{
		Name:  "scale",
		Usage: "emulate data-parallel training: compute is slept, gradients are really reduced",
		Description: "Every peer sleeps through the layers of the model, as long as an accelerator\n" +
			"would compute, and all-reduces each bucket of gradients as soon as the backward\n" +
			"pass has been through its layers. Exposed is the communication that is left when\n" +
			"the backward pass has ended; efficiency is the step of one peer over this one's.",
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "n", Value: "1,2,4", Usage: "numbers of peers"},
			&cli.StringFlag{Name: "model", Value: "resnet50", Usage: strings.Join(bench.Models(), ", ") + "; several, or all"},
			&cli.DurationFlag{Name: "compute", Usage: "time of a forward and backward pass; default: as published for 64 images on a P100, else 450ms"},
			&cli.FloatFlag{Name: "scale", Value: 1, Usage: "move only this share of the gradients"},
			&cli.IntFlag{Name: "steps", Value: 5, Usage: "steps per round"},
			&cli.StringFlag{Name: "first", Value: "1M", Usage: "bytes of the first bucket"},
			&cli.StringFlag{Name: "bucket", Value: "25M", Usage: "bytes of the other buckets"},
			plotFlag(),
		}, commonFlags()...),
		Action: p.scale,
	}
}

func (p *program) scale(ctx context.Context, c *cli.Command) error {
	f, err := parseCommon(c)
	if err != nil {
		return err
	}
	peers, err := parsePeers(c.String("n"))
	if err != nil {
		return err
	}
	trainings, err := parseTrainings(c, f)
	if err != nil {
		return err
	}
	if !f.json {
		p.scaleHeader(f, trainings, c.IsSet("compute"))
	}
	var results []bench.StepResult
	for _, t := range trainings {
		if results, err = p.model(ctx, f, peers, t, results); err != nil {
			return err
		}
	}
	if f.plot != "" {
		if err := bench.PlotSteps(f.plot, results); err != nil {
			return err
		}
	}
	for _, r := range results {
		if !r.OK {
			return errWrong
		}
	}
	return nil
}

func (p *program) scaleHeader(f common, trainings []bench.Training, given bool) {
	fmt.Fprintf(p.stdout, "# emulated training on this machine, %s, %s; %d rounds of %d steps\n",
		f.transport, f.codec, f.rounds, trainings[0].Steps)
	for _, t := range trainings {
		fmt.Fprintln(p.stdout, "# "+describe(t, given))
	}
	bench.StepHeader(p.stdout)
}

// model measures one model with each number of peers.
func (p *program) model(ctx context.Context, f common, peers []int, t bench.Training, results []bench.StepResult) ([]bench.StepResult, error) {
	var one *bench.StepResult
	for _, n := range peers {
		err := p.launch(ctx, n, f, bench.Job{Training: &t}, func(r bench.Result) {
			if n == 1 && one == nil {
				one = r.Step
			}
			s := r.Step.WithBase(one)
			results = append(results, s)
			p.line.clear()
			if f.json {
				_ = json.NewEncoder(p.stdout).Encode(s)
			} else {
				s.WriteRow(p.stdout)
			}
		})
		if err != nil {
			return nil, fmt.Errorf("%s, %d peers: %w", t.Model, n, err)
		}
	}
	return results, nil
}

// describe says what a training emulates and on what authority.
func describe(t bench.Training, given bool) string {
	m, err := bench.LookupModel(t.Model)
	if err != nil {
		return err.Error()
	}
	source := m.Source
	if given {
		source = "-compute"
	}
	moved := float64(m.Scaled(t.Scale).Params()) * 4 / 1e6
	return fmt.Sprintf("%s: %d parameters, %.1f MB of gradients moved, %v of compute per step (%s)",
		m.Name, m.Params(), moved, t.Compute, source)
}

func parseTrainings(c *cli.Command, f common) ([]bench.Training, error) {
	t := bench.Training{
		Transport: f.transport, Codec: f.codec, Rounds: f.rounds,
		Compute: c.Duration("compute"), Scale: c.Float("scale"), Steps: c.Int("steps"),
	}
	if c.IsSet("compute") && (t.Compute < time.Millisecond || t.Compute > time.Minute) {
		return nil, fmt.Errorf("-compute: %v, want 1ms to 1m", t.Compute)
	}
	if !(t.Scale > 0 && t.Scale <= 1) {
		return nil, fmt.Errorf("-scale: %v, want a share above 0, at most 1", t.Scale)
	}
	if t.Steps < 1 || t.Steps > 1_000_000 {
		return nil, fmt.Errorf("-steps: %d, want 1 to 1000000", t.Steps)
	}
	var err error
	if t.FirstBytes, err = parseBucket(c, "first"); err != nil {
		return nil, err
	}
	if t.BucketBytes, err = parseBucket(c, "bucket"); err != nil {
		return nil, err
	}
	return withModels(t, c.String("model"), c.IsSet("compute"))
}

// withModels returns t for each model of a list, with the model's own time to
// compute unless one was given.
func withModels(t bench.Training, list string, given bool) ([]bench.Training, error) {
	names := strings.Split(list, ",")
	if list == "all" {
		names = bench.Models()
	}
	var all []bench.Training
	for _, name := range names {
		t.Model = strings.TrimSpace(name)
		m, err := bench.LookupModel(t.Model)
		if err != nil {
			return nil, fmt.Errorf("-model: %w", err)
		}
		if !given {
			t.Compute = m.Compute
		}
		all = append(all, t)
	}
	return all, nil
}

func parseBucket(c *cli.Command, flag string) (int, error) {
	bytes, err := bench.ParseSize(c.String(flag))
	if err == nil && bytes < 1 {
		err = fmt.Errorf("%d bytes, want at least 1", bytes)
	}
	if err != nil {
		return 0, fmt.Errorf("-%s: %w", flag, err)
	}
	return bytes, nil
}
