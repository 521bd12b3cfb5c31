package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/ringrun/ringrun/bench"
	"github.com/urfave/cli/v3"
)

func (p *program) versusCommand() *cli.Command {
	return &cli.Command{
		Name:  "versus",
		Usage: "time the all-reduce in turns with Open MPI, MPICH and gloo",
		Description: "Those that are installed are built from small programs of ours and measured in\n" +
			"the same way, in turns with ringrun. The ratio says how many times as fast\n" +
			"ringrun is as the best of them at that size: medians over the turns, and the\n" +
			"range of the single turns.",
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "n", Value: "2", Usage: "number of peers"},
			&cli.StringFlag{Name: "sizes", Value: "4,1K,64K,1M,16M,64M", Usage: "bytes of the vectors"},
			&cli.IntFlag{Name: "turns", Value: 3, Usage: "how often each is measured"},
			&cli.StringFlag{Name: "type", Value: "float32", Usage: "only float32, which all of them have"},
			&cli.StringFlag{Name: "op", Value: "sum", Usage: "only sum"},
			&cli.DurationFlag{Name: "min-time", Value: 300 * time.Millisecond, Usage: "length of a round"},
			memoryFlag(),
			&cli.FloatFlag{Name: "max-foreign", Value: 0.08, Usage: "repeat a round in which others used more processors"},
		}, commonFlags()...),
		Action: p.versus,
	}
}

// A contestant is a rival that is built.
type contestant struct {
	bench.Rival
	program string
}

func (p *program) versus(ctx context.Context, c *cli.Command) error {
	f, err := parseCommon(c)
	if err != nil {
		return err
	}
	peers, s, err := parseSweep(c, f)
	if err != nil {
		return err
	}
	if c.String("type") != "float32" || c.String("op") != "sum" || f.codec != "raw" {
		return errors.New("-type, -op, -codec: only the sum of raw float32 can be compared")
	}
	turns := c.Int("turns")
	if turns < 1 {
		return fmt.Errorf("-turns: %d, want at least 1", turns)
	}
	dir, err := os.MkdirTemp("", "ringbench-versus-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	rivals, err := p.rivals(ctx, dir, f.transport)
	if err != nil {
		return err
	}
	var all [][]bench.SizeResult
	for turn := range turns {
		results, err := p.turn(ctx, turn, peers, s, f, rivals)
		if err != nil {
			return err
		}
		all = append(all, results)
	}
	return p.sayVersus(f, bench.Compare(s.Label(), all))
}

// rivals builds those that can be compared with the transport.
func (p *program) rivals(ctx context.Context, dir, transport string) ([]contestant, error) {
	kind := "tcp"
	if transport == "shm" || transport == "auto" {
		kind = "shm"
	}
	var out []contestant
	for _, r := range bench.Rivals() {
		if r.Transport != kind {
			continue
		}
		p.line.show("building " + r.Name)
		program, err := r.Build(ctx, dir)
		if errors.Is(err, bench.ErrNotInstalled) {
			p.line.clear()
			fmt.Fprintf(p.stderr, "ringbench: without %v\n", err)
			continue
		}
		if err != nil {
			return nil, err
		}
		out = append(out, contestant{r, program})
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("nobody to compare with over %s: install Open MPI (openmpi-bin, libopenmpi-dev), MPICH or gloo (libgloo-dev)", kind)
	}
	return out, nil
}

// turn measures ringrun and then each rival once.
func (p *program) turn(ctx context.Context, turn, peers int, s bench.Sweep, f common, rivals []contestant) ([]bench.SizeResult, error) {
	var results []bench.SizeResult
	add := func(r bench.SizeResult) {
		results = append(results, r)
		if f.json {
			_ = json.NewEncoder(p.stdout).Encode(r)
		}
	}
	wrong := false
	err := p.launch(ctx, peers, f, bench.Job{Sweep: &s}, func(r bench.Result) {
		wrong = wrong || !r.Size.OK
		add(*r.Size)
	})
	if err == nil && wrong {
		err = errWrong
	}
	if err != nil {
		return nil, err
	}
	for _, r := range rivals {
		p.line.show(fmt.Sprintf("turn %d: %s", turn+1, r.Name))
		lines, err := r.Run(ctx, r.program, peers, s)
		for _, l := range lines {
			if l.OK {
				add(l)
			}
		}
		if err := context.Cause(ctx); err != nil {
			return nil, err
		}
		if err != nil { // it may not manage every size, and is compared where it does
			p.line.clear()
			fmt.Fprintf(p.stderr, "ringbench: %v\n", err)
		}
	}
	return results, nil
}

func (p *program) sayVersus(f common, rows []bench.Comparison) error {
	p.line.clear()
	if !f.json {
		bench.CompareHeader(p.stdout)
	}
	for _, r := range rows {
		if f.json {
			if err := json.NewEncoder(p.stdout).Encode(r); err != nil {
				return err
			}
			continue
		}
		r.WriteRow(p.stdout)
	}
	return nil
}
