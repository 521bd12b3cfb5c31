// Command mnist trains a small perceptron, or a convolutional net, to read
// digits, on any number of peers:
//
//	ringrun -n 4 ./cmd/mnist
//	ringrun -n 2 ./cmd/mnist -model conv
//
// It is an ordinary Gorgonia loop; see train for the few lines that join it to
// the other peers. Without -data it draws its own digits.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"

	"github.com/ringrun/ringrun/elastic"
	"github.com/ringrun/ringrun/gorgonia_bridge/blas"
	"gorgonia.org/gorgonia"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt) // SIGTERM drains: see elastic.FromEnv
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "mnist:", err)
		os.Exit(1)
	}
}

// Settings are the same on all peers.
type settings struct {
	epochs int
	steps  uint64
	batch  int
	shard  int
	lr     float64
	solver string
	scale  float64
	seed   uint64
	data   string
	shape  shape
	save   string
	stats  bool
}

func parseSettings(args []string, stderr io.Writer) (settings, error) {
	var s settings
	f := flag.NewFlagSet("mnist", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.IntVar(&s.epochs, "epochs", 10, "walks through the training data; 0: no end, but see -steps")
	f.Uint64Var(&s.steps, "steps", 0, "end after so many `steps`; 0: see -epochs")
	f.IntVar(&s.batch, "batch", 128, "samples in a step, over all peers, however many there are")
	f.IntVar(&s.shard, "shard", 0, "samples in one pass of one peer (default an eighth of the batch)")
	f.Float64Var(&s.lr, "lr", 0.001, "learning rate; the largest one, where it changes")
	f.StringVar(&s.solver, "solver", "adam", "adam, momentum, or for large batches lars or lamb")
	f.Float64Var(&s.scale, "scale", 1, "how many `times` the batch is as large as the one that -lr of momentum is for: scales it, with warm-up")
	f.Uint64Var(&s.seed, "seed", 1, "of weights, order of samples, and generated digits")
	f.StringVar(&s.data, "data", "", "`directory` with the IDX files of MNIST, plain or .gz (default: generate digits)")
	kind := f.String("model", "mlp", "mlp, or conv: two layers of 3×3 filters before the hidden ones")
	hidden := f.String("hidden", "128", "`widths` of the hidden layers, such as 512,512; none for a linear model")
	f.StringVar(&s.save, "save", "", "`file` to write the parameters to: in order, little-endian")
	f.BoolVar(&s.stats, "stats", false, "say at the end how well communication was hidden behind the passes")
	if err := f.Parse(args); err != nil {
		return settings{}, err
	}
	if f.NArg() > 0 {
		return settings{}, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	var err error
	if s.shape.hidden, err = parseWidths(*hidden); err != nil {
		return settings{}, err
	}
	switch *kind {
	case "mlp":
	case "conv":
		s.shape.channels = convChannels
	default:
		return settings{}, fmt.Errorf("-model %q, want mlp or conv", *kind)
	}
	if s.shard == 0 {
		s.shard = max(1, s.batch/8)
	}
	return s, s.validate()
}

func (s settings) validate() error {
	switch {
	case s.epochs < 0:
		return fmt.Errorf("-epochs %d, want 0 or more", s.epochs)
	case s.epochs == 0 && s.steps == 0:
		return errors.New("-epochs 0 and -steps 0: training would never end")
	case s.batch < 1:
		return fmt.Errorf("-batch %d, want at least 1", s.batch)
	case s.shard < 1 || s.shard > s.batch:
		return fmt.Errorf("-shard %d, want 1 to the batch of %d", s.shard, s.batch)
	case !(s.lr > 0):
		return fmt.Errorf("-lr %v, want more than 0", s.lr)
	}
	return s.validateSolver()
}

func parseWidths(list string) ([]int, error) {
	if list == "" || list == "none" {
		return nil, nil
	}
	var widths []int
	for _, w := range strings.Split(list, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(w))
		if err != nil || n < 1 || n > 1<<16 {
			return nil, fmt.Errorf("-hidden %q: %q is not a width from 1 to %d", list, w, 1<<16)
		}
		widths = append(widths, n)
	}
	return widths, nil
}

// generated is how many digits there are without -data.
const (
	generatedTrain = 8000
	generatedTest  = 2000
)

func load(s settings) (train, test *samples, err error) {
	if s.data != "" {
		return readData(s.data)
	}
	train, test = generate(s.seed, 0, generatedTrain+generatedTest).split(generatedTrain)
	return train, test, nil
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	s, err := parseSettings(args, stderr)
	if err != nil {
		return err
	}
	gorgonia.Use(blas.Implementation{})
	data, test, err := load(s)
	if err != nil {
		return err
	}
	cfg, err := elastic.FromEnv()
	if err != nil {
		return err
	}
	var result *trained
	err = elastic.Run(ctx, cfg, func(ctx context.Context, g *elastic.Group) (err error) {
		result, err = train(ctx, g, s, data, stdout)
		return err
	})
	if err != nil {
		return err
	}
	sum, err := result.finish(s, test)
	if err != nil {
		return err
	}
	if s.stats {
		fmt.Fprintf(stdout, "stats %v\n", result.bridge.Stats())
	}
	b, err := json.Marshal(sum)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "summary %s\n", b)
	return err
}
