package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/ringrun/ringrun/allreduce"
	"github.com/ringrun/ringrun/bench"
	"github.com/urfave/cli/v3"
)

func (p *program) selectCommand() *cli.Command {
	return &cli.Command{
		Name:  "select",
		Usage: "time an all-reduce by every algorithm, and by the one that is chosen",
		Description: "The algorithms take turns. Choice is what the peers choose by what they measured\n" +
			"when they came together; ratio is its time over that of the best.",
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "n", Value: "4", Usage: "number of peers"},
			&cli.StringFlag{Name: "sizes", Value: "4,64,1K,4K,16K,32K,64K,128K,256K,1M,4M,16M,64M", Usage: "bytes of the vectors"},
			&cli.DurationFlag{Name: "min-time", Value: 20 * time.Millisecond, Usage: "length of an algorithm's turn"},
		}, commonFlags()...),
		Action: p.selection,
	}
}

func (p *program) selection(ctx context.Context, c *cli.Command) error {
	f, err := parseCommon(c)
	if err != nil {
		return err
	}
	peers, err := parsePeers(c.String("n"))
	if err != nil {
		return err
	}
	t := bench.Contest{Transport: f.transport, Rounds: f.rounds, MinTime: c.Duration("min-time")}
	if t.MinTime <= 0 {
		return fmt.Errorf("-min-time: %v, want a time above 0", t.MinTime)
	}
	if t.Sizes, err = parseSizes(c.String("sizes"), allreduce.Float32); err != nil {
		return err
	}
	if f.codec != "raw" {
		return fmt.Errorf("-codec: with %s there is only the ring", f.codec)
	}
	for _, n := range peers {
		if !f.json {
			fmt.Fprintf(p.stdout, "# %d peers on this machine, %s; %d rounds\n", n, f.transport, f.rounds)
			bench.ContestHeader(p.stdout)
		}
		err := p.launch(ctx, n, f, bench.Job{Contest: &t}, func(r bench.Result) {
			p.line.clear()
			if f.json {
				_ = json.NewEncoder(p.stdout).Encode(r.Contest)
			} else {
				r.Contest.WriteRow(p.stdout)
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}
