// Command charlm trains a language model that predicts the next character of
// Go source, on any number of peers:
//
//	ringrun -n 2 ./cmd/charlm
//
// The text is the standard library of the Go toolchain that is installed, so
// nothing is downloaded; -text takes another file or folder. Progress is in bits
// per character, which is what an ideal packer would need with this model: 8 is
// the file as it is, 2 a quarter of it.
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

	"github.com/ringrun/ringrun/elastic"
	"github.com/ringrun/ringrun/gorgonia_bridge/blas"
	"gorgonia.org/gorgonia"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt) // SIGTERM drains: see elastic.FromEnv
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "charlm:", err)
		os.Exit(1)
	}
}

// Settings are the same on all peers.
type settings struct {
	steps  uint64
	batch  int
	shard  int
	lr     float64
	seed   uint64
	text   string
	bytes  int
	sample int
	shape  shape
}

func parseSettings(args []string, stderr io.Writer) (settings, error) {
	var s settings
	f := flag.NewFlagSet("charlm", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.Uint64Var(&s.steps, "steps", 4000, "training `steps`")
	f.IntVar(&s.batch, "batch", 128, "characters to predict in a step, over all peers, however many there are")
	f.IntVar(&s.shard, "shard", 0, "characters in one pass of one peer (default a quarter of the batch)")
	f.Float64Var(&s.lr, "lr", 0.003, "largest learning rate of AdamW; it warms up, then falls along a cosine to 0")
	f.Uint64Var(&s.seed, "seed", 1, "of weights and order")
	f.StringVar(&s.text, "text", "", "`file or folder` to learn (default: the source of Go's standard library)")
	f.IntVar(&s.bytes, "bytes", 1<<20, "how much of the text to learn; what follows it is for the test")
	f.IntVar(&s.sample, "sample", 0, "at the end, let the model write so many characters")
	f.IntVar(&s.shape.context, "context", 8, "characters that a prediction looks back on")
	f.IntVar(&s.shape.embedding, "embedding", 16, "numbers that stand for a character")
	f.IntVar(&s.shape.hidden, "hidden", 256, "width of the hidden layer")
	if err := f.Parse(args); err != nil {
		return settings{}, err
	}
	if f.NArg() > 0 {
		return settings{}, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	if s.shard == 0 {
		s.shard = max(1, s.batch/4)
	}
	return s, s.validate()
}

func (s settings) validate() error {
	for _, f := range []struct {
		name       string
		x, lo, top int
	}{
		{"batch", s.batch, 1, 1 << 20}, {"shard", s.shard, 1, s.batch}, {"bytes", s.bytes, 1 << 10, 1 << 30},
		{"context", s.shape.context, 1, 1 << 10}, {"embedding", s.shape.embedding, 1, 1 << 12}, {"hidden", s.shape.hidden, 1, 1 << 16},
		{"sample", s.sample, 0, 1 << 20},
	} {
		if f.x < f.lo || f.x > f.top {
			return fmt.Errorf("-%s %d, want %d to %d", f.name, f.x, f.lo, f.top)
		}
	}
	if s.steps == 0 {
		return errors.New("-steps 0, want at least 1")
	}
	if !(s.lr > 0) {
		return fmt.Errorf("-lr %v, want more than 0", s.lr)
	}
	return nil
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	s, err := parseSettings(args, stderr)
	if err != nil {
		return err
	}
	gorgonia.Use(blas.Implementation{})
	data, err := load(ctx, s)
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
	sum, err := result.finish(s, data, stdout)
	if err != nil {
		return err
	}
	b, err := json.Marshal(sum)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "summary %s\n", b)
	return err
}
