package main

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/ringrun/ringrun/bench"
	"github.com/urfave/cli/v3"
)

func (p *program) kernelsCommand() *cli.Command {
	return &cli.Command{
		Name:  "kernels",
		Usage: "time the inner loops: additions, conversions, copies",
		Description: "GB/s of one vector, and of all memory that is read and written for it, on one\n" +
			"core, for each level of instructions that this processor has. The ratios compare\n" +
			"that traffic with Go's copy, and with the most that any loop has reached.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "sizes", Value: "64K,64M", Usage: "bytes of the vectors"},
			&cli.StringFlag{Name: "only", Usage: "measure the kernels that match this `REGEXP`, and copy"},
			&cli.IntFlag{Name: "rounds", Value: 5, Usage: "how often to measure"},
			&cli.DurationFlag{Name: "min-time", Value: 10 * time.Millisecond, Usage: "of one loop in a round"},
			&cli.BoolFlag{Name: "json", Usage: "print one JSON object a line instead of a table"},
		},
		Action: p.kernels,
	}
}

func (p *program) kernels(ctx context.Context, c *cli.Command) error {
	k, err := parseKernels(c)
	if err != nil {
		return err
	}
	k.Progress = p.line.show
	results, err := k.Run(ctx)
	p.line.clear()
	if err != nil {
		return err
	}
	if !c.Bool("json") {
		fmt.Fprintf(p.stdout, "# one core of this machine; medians of %d rounds of %v\n", k.Rounds, k.MinTime)
		bench.WriteKernels(p.stdout, results)
		return nil
	}
	for _, r := range results {
		if err := json.NewEncoder(p.stdout).Encode(r); err != nil {
			return err
		}
	}
	return nil
}

func parseKernels(c *cli.Command) (bench.Kernels, error) {
	k := bench.Kernels{Rounds: c.Int("rounds"), MinTime: c.Duration("min-time")}
	if c.Args().Present() {
		return k, fmt.Errorf("argument %q, want only flags", c.Args().First())
	}
	if k.Rounds < 1 || k.Rounds > 1000 {
		return k, fmt.Errorf("-rounds: %d, want 1 to 1000", k.Rounds)
	}
	if k.MinTime <= 0 {
		return k, fmt.Errorf("-min-time: %v, want a time above 0", k.MinTime)
	}
	var err error
	if k.Only, err = regexp.Compile(c.String("only")); err != nil {
		return k, fmt.Errorf("-only: %w", err)
	}
	k.Sizes, err = parseKernelSizes(c.String("sizes"))
	return k, err
}

// maxKernelBytes is what five vectors of leave room for in most machines.
const maxKernelBytes = 1 << 30

func parseKernelSizes(list string) ([]int, error) {
	var sizes []int
	for _, s := range strings.Split(list, ",") {
		bytes, err := bench.ParseSize(s)
		if err == nil && (bytes < 1 || bytes > maxKernelBytes || bytes%bench.KernelUnit != 0) {
			err = fmt.Errorf("%q, want a multiple of %s up to %s", s, bench.FormatSize(bench.KernelUnit), bench.FormatSize(maxKernelBytes))
		}
		if err != nil {
			return nil, fmt.Errorf("-sizes: %w", err)
		}
		sizes = append(sizes, bytes)
	}
	slices.Sort(sizes)
	return slices.Compact(sizes), nil
}
