package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ringrun/ringrun/bench"
	"github.com/urfave/cli/v3"
)

func (p *program) torchCommand() *cli.Command {
	return &cli.Command{
		Name:  "versus-torch",
		Usage: "train a perceptron in turns with PyTorch",
		Description: "Both train the same weights on the same batches with SGD, one thread in each\n" +
			"process, and must come to the same loss. The contests are\n" +
			"  step  one process, 784-512-512-512-512-10, batch 128; also with gonum's product\n" +
			"  ddp   one process and two, 784-512-512-10, batch 64 each, against\n" +
			"        DistributedDataParallel over gloo, and two of ours at once that do not\n" +
			"        talk: so much do two processes lose by sharing the machine\n" +
			"Times are medians over the turns; ratios are taken turn by turn, their median\n" +
			"and range printed. Needs a Python with torch, as Debian's python3-torch.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "contest", Value: "step,ddp", Usage: "which of them"},
			&cli.IntFlag{Name: "turns", Value: 3, Usage: "how often each is measured"},
			&cli.DurationFlag{Name: "time", Value: time.Second, Usage: "of training in each turn"},
			&cli.StringFlag{Name: "transport", Value: "auto", Usage: "how our peers talk: auto, shm, tcp or rtc"},
			&cli.StringFlag{Name: "python", Usage: "the `program` that imports torch (default: python3)"},
			&cli.BoolFlag{Name: "json", Usage: "print one JSON object a line instead of a table"},
		},
		Action: p.versusTorch,
	}
}

// A racer is one program of a contest.
type racer struct {
	name  string
	peers int
	apart bool // each trains alone
	run   func(ctx context.Context, peers int) (bench.TrainResult, error)
}

// together is how many train one model.
func (r racer) together() int {
	if r.apart {
		return 1
	}
	return r.peers
}

// A contest has racers that do the same work; what is better than what is said
// as ratios of their samples per second.
type contest struct {
	title  string
	task   bench.Perceptron
	racers []racer
	ratios [][2]int // of racers: the first's rate over the second's
}

func (p *program) versusTorch(ctx context.Context, c *cli.Command) error {
	turns, each := c.Int("turns"), c.Duration("time")
	switch {
	case c.Args().Present():
		return fmt.Errorf("argument %q, want only flags", c.Args().First())
	case turns < 1:
		return fmt.Errorf("-turns: %d, want at least 1", turns)
	case each <= 0:
		return fmt.Errorf("-time: %v, want a time above 0", each)
	}
	if err := oneOf("transport", c.String("transport"), "auto", "shm", "tcp", "rtc"); err != nil {
		return err
	}
	names := strings.Split(c.String("contest"), ",")
	for _, name := range names {
		if err := oneOf("contest", name, "step", "ddp"); err != nil {
			return err
		}
	}
	dir, err := os.MkdirTemp("", "ringbench-torch-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	p.line.show("looking for torch")
	torch, err := bench.FindTorch(ctx, dir, c.String("python"))
	if err != nil {
		return err
	}
	for _, name := range names {
		results, err := p.race(ctx, p.contest(name, torch, c.String("transport"), each), turns)
		if err != nil {
			return err
		}
		p.line.clear()
		if err := results.write(p.stdout, c.Bool("json"), torch.Version); err != nil {
			return err
		}
	}
	return nil
}

func (p *program) contest(name string, torch *bench.Torch, transport string, each time.Duration) contest {
	ours := func(task bench.Perceptron) func(context.Context, int) (bench.TrainResult, error) {
		return func(ctx context.Context, peers int) (bench.TrainResult, error) {
			return p.train(ctx, task, peers, transport)
		}
	}
	theirs := func(task bench.Perceptron) func(context.Context, int) (bench.TrainResult, error) {
		return func(ctx context.Context, peers int) (bench.TrainResult, error) { return torch.Train(ctx, task, peers) }
	}
	if name == "step" {
		task := bench.Perceptron{Widths: []int{784, 512, 512, 512, 512, 10}, Batch: 128, Time: each}.WithDefaults()
		gonum := task
		gonum.Gonum = true
		return contest{
			title:  "MLP 784-512-512-512-512-10, batch 128, SGD, one thread",
			task:   task,
			racers: []racer{{"ringrun", 1, false, ours(task)}, {"torch", 1, false, theirs(task)}, {"ringrun, gonum's BLAS", 1, false, ours(gonum)}},
			ratios: [][2]int{{0, 1}, {0, 2}},
		}
	}
	task := bench.Perceptron{Widths: []int{784, 512, 512, 10}, Batch: 64, Time: each}.WithDefaults()
	return contest{
		title: "MLP 784-512-512-10, batch 64 on each peer, SGD, one thread each, " + transport,
		task:  task,
		racers: []racer{
			{"ringrun", 2, false, ours(task)}, {"ringrun", 1, false, ours(task)}, {"ringrun, no talk", 2, true, p.apart(ours(task))},
			{"torch DDP, gloo", 2, false, theirs(task)}, {"torch", 1, false, theirs(task)},
		},
		ratios: [][2]int{{0, 3}, {0, 1}, {2, 1}, {0, 2}, {3, 4}},
	}
}

// apart runs peers at the same time that know nothing of each other.
func (p *program) apart(run func(context.Context, int) (bench.TrainResult, error)) func(context.Context, int) (bench.TrainResult, error) {
	return func(ctx context.Context, peers int) (bench.TrainResult, error) {
		results, errs := make([]bench.TrainResult, peers), make([]error, peers)
		var all sync.WaitGroup
		for i := range peers {
			all.Go(func() { results[i], errs[i] = run(ctx, 1) })
		}
		all.Wait()
		sum := results[0]
		for _, r := range results[1:] {
			sum.Rate += r.Rate
			sum.MedianMS = max(sum.MedianMS, r.MedianMS)
		}
		sum.Size = peers
		return sum, errors.Join(errs...)
	}
}

// train runs our own peers, with one thread each.
func (p *program) train(ctx context.Context, task bench.Perceptron, peers int, transport string) (bench.TrainResult, error) {
	self, err := os.Executable()
	if err != nil {
		return bench.TrainResult{}, err
	}
	var out bench.TrainResult
	err = bench.Launch{
		Peers: peers, Transport: transport, Codec: "raw",
		Job:      bench.Job{Perceptron: &task},
		Command:  []string{self, peerCommand},
		Env:      []string{"GOMAXPROCS=1"},
		Stderr:   p.line.above(p.stderr),
		Report:   func(r bench.Result) { out = *r.Train },
		Progress: p.line.show,
	}.Run(ctx)
	return out, err
}

// raceResults are, for each racer, its turns.
type raceResults struct {
	contest
	turns [][]bench.TrainResult
}

// race lets the racers take turns.
func (p *program) race(ctx context.Context, c contest, turns int) (raceResults, error) {
	out := raceResults{c, make([][]bench.TrainResult, len(c.racers))}
	for turn := range turns {
		for i, r := range c.racers {
			p.line.show(fmt.Sprintf("turn %d of %d: %s, %d", turn+1, turns, r.name, r.peers))
			result, err := r.run(ctx, r.peers)
			if err != nil {
				return out, err
			}
			if want := out.lossOf(r.together(), result.Loss); math.Abs(result.Loss-want) > 1e-3*want {
				return out, fmt.Errorf("%s comes to a loss of %v where the first with %d peers came to %v: they do not do the same work", r.name, result.Loss, r.together(), want)
			}
			out.turns[i] = append(out.turns[i], result)
		}
	}
	return out, nil
}

// lossOf is what the first with so many peers came to, or else this.
func (r raceResults) lossOf(peers int, loss float64) float64 {
	for i, racer := range r.racers {
		if racer.together() == peers && len(r.turns[i]) > 0 {
			return r.turns[i][0].Loss
		}
	}
	return loss
}

func (r raceResults) write(w io.Writer, asJSON bool, torch string) error {
	if asJSON {
		for i := range r.racers {
			for _, turn := range r.turns[i] {
				turn.Peer = r.racers[i].name
				if err := json.NewEncoder(w).Encode(turn); err != nil {
					return err
				}
			}
		}
		return nil
	}
	fmt.Fprintf(w, "# %s; torch %s; medians of %d turns of %v\n", r.title, torch, len(r.turns[0]), r.task.Time)
	fmt.Fprintf(w, "#%27s %6s %10s %12s %10s\n", "", "peers", "ms/step", "samples/s", "loss")
	for i, racer := range r.racers {
		fmt.Fprintf(w, " %27s %6d %10.3f %12.0f %10.5f\n", racer.name, racer.peers,
			r.median(i, func(t bench.TrainResult) float64 { return t.MedianMS }),
			r.median(i, func(t bench.TrainResult) float64 { return t.Rate }), r.turns[i][0].Loss)
	}
	for _, pair := range r.ratios {
		a, b := r.racers[pair[0]], r.racers[pair[1]]
		lo, mid, hi := r.ratio(pair[0], pair[1])
		fmt.Fprintf(w, "# %s with %d over %s with %d: %.2f times the samples/s (%.2f to %.2f)\n", a.name, a.peers, b.name, b.peers, mid, lo, hi)
	}
	return nil
}

func (r raceResults) median(i int, of func(bench.TrainResult) float64) float64 {
	var v []float64
	for _, t := range r.turns[i] {
		v = append(v, of(t))
	}
	slices.Sort(v)
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// ratio compares two racers turn by turn.
func (r raceResults) ratio(a, b int) (lo, mid, hi float64) {
	var v []float64
	for i := range r.turns[a] {
		v = append(v, r.turns[a][i].Rate/r.turns[b][i].Rate)
	}
	slices.Sort(v)
	return v[0], (v[(len(v)-1)/2] + v[len(v)/2]) / 2, v[len(v)-1]
}
