package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/ringrun/ringrun/allreduce"
	"github.com/ringrun/ringrun/bench"
	"github.com/urfave/cli/v3"
)

// sweepCommands returns a command for every collective that can be timed.
func (p *program) sweepCommands() (all []*cli.Command) {
	for _, name := range bench.Collectives() {
		all = append(all, p.sweepCommand(name))
	}
	return all
}

func (p *program) sweepCommand(name string) *cli.Command {
	return &cli.Command{
		Name:  name,
		Usage: "time " + name + " over a list of sizes",
		Description: "Every size is checked against known results before it is timed; a wrong one\n" +
			"makes the exit status 1. The columns are those of nccl-tests; the range is that\n" +
			"of the rounds, cpu is the processor time of all peers per GB of vector. A size is\n" +
			"that of the whole vector: what a peer has at the end of allreduce, allgather\n" +
			"and broadcast, what it gives to reducescatter and alltoall.",
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "n", Value: "2", Usage: "number of peers"},
			&cli.StringFlag{Name: "sizes", Value: "4,1K,64K,1M,16M,64M", Usage: "bytes of the vectors"},
			&cli.StringFlag{Name: "type", Value: "float32", Usage: "of the elements: float16 to float64, bfloat16, int8 to int64, uint8 to uint64"},
			&cli.StringFlag{Name: "op", Value: "sum", Usage: "sum, mean, min, max or product; and or or of integers"},
			&cli.StringFlag{Name: "algorithm", Value: "auto", Usage: "of allreduce: auto, ring, exchange, dissemination, shared or two-level, as far as the peers have it"},
			&cli.DurationFlag{Name: "min-time", Value: 500 * time.Millisecond, Usage: "length of a round"},
			memoryFlag(),
			&cli.FloatFlag{Name: "max-foreign", Value: 0.08, Usage: "repeat a round in which others used more processors"},
			plotFlag(),
		}, commonFlags()...),
		Action: p.sweep,
	}
}

func (p *program) sweep(ctx context.Context, c *cli.Command) error {
	f, err := parseCommon(c)
	if err != nil {
		return err
	}
	peers, s, err := parseSweep(c, f)
	if err != nil {
		return err
	}
	s.Collective = c.Name
	if !f.json {
		fmt.Fprintf(p.stdout, "# %d peers on this machine, %s, %s, vectors in the %s; %d rounds of %v\n",
			peers, f.transport, f.codec, c.String("memory"), s.Rounds, s.MinTime)
		bench.SizeHeader(p.stdout)
	}
	var results []bench.SizeResult
	wrong := false
	err = p.launch(ctx, peers, f, bench.Job{Sweep: &s}, func(r bench.Result) {
		p.line.clear()
		results = append(results, *r.Size)
		wrong = wrong || !r.Size.OK
		if f.json {
			_ = json.NewEncoder(p.stdout).Encode(r.Size)
		} else {
			r.Size.WriteRow(p.stdout)
		}
	})
	if err == nil && f.plot != "" {
		err = bench.PlotSizes(f.plot, results)
	}
	if err == nil && wrong {
		err = errWrong
	}
	return err
}

func parseSweep(c *cli.Command, f common) (peers int, s bench.Sweep, err error) {
	list, err := parsePeers(c.String("n"))
	if err != nil {
		return 0, s, err
	}
	if len(list) != 1 {
		return 0, s, fmt.Errorf("-n: %q, want one number of peers", c.String("n"))
	}
	s = bench.Sweep{
		Transport: f.transport, Codec: f.codec, Rounds: f.rounds,
		MinTime: c.Duration("min-time"), MaxForeign: c.Float("max-foreign"),
	}
	if s.MinTime <= 0 {
		return 0, s, fmt.Errorf("-min-time: %v, want a time above 0", s.MinTime)
	}
	if !(s.MaxForeign > 0) || math.IsInf(s.MaxForeign, 1) { // NaN is neither
		return 0, s, fmt.Errorf("-max-foreign: %v, want a number above 0", s.MaxForeign)
	}
	if err := oneOf("memory", c.String("memory"), "heap", "arena"); err != nil {
		return 0, s, err
	}
	s.Arena = c.String("memory") == "arena"
	if s.Type, err = parseType(c.String("type")); err != nil {
		return 0, s, err
	}
	if s.Op, err = parseOp(c.String("op")); err != nil {
		return 0, s, err
	}
	if (s.Op == allreduce.And || s.Op == allreduce.Or) && strings.Contains(s.Type.String(), "float") {
		return 0, s, fmt.Errorf("-op: %v is for integers, and -type is %v", s.Op, s.Type)
	}
	if name := c.String("algorithm"); name != "" { // not every command has it
		if s.Algorithm, err = allreduce.ParseAlgorithm(name); err != nil {
			return 0, s, fmt.Errorf("-algorithm: %w", err)
		}
	}
	if s.Algorithm != allreduce.Auto && c.Name != "allreduce" {
		return 0, s, fmt.Errorf("-algorithm: only allreduce has a choice")
	}
	s.Sizes, err = parseSizes(c.String("sizes"), s.Type)
	return list[0], s, err
}
