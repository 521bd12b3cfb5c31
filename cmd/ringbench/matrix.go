package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/ringrun/ringrun/bench"
	"github.com/urfave/cli/v3"
)

func (p *program) matrixCommand() *cli.Command {
	return &cli.Command{
		Name:  "matrix",
		Usage: "measure the links between all pairs of peers",
		Description: "Pairs take turns, each over a link of its own. At the end stands the order in\n" +
			"which a ring of these peers would be fastest.",
		Flags:  append([]cli.Flag{&cli.StringFlag{Name: "n", Value: "4", Usage: "number of peers"}}, linkFlags()...),
		Action: p.matrix,
	}
}

func (p *program) matrix(ctx context.Context, c *cli.Command) error {
	f, err := parseLinks(c)
	if err != nil {
		return err
	}
	f.codec = "raw"
	peers, err := parsePeers(c.String("n"))
	if err != nil {
		return err
	}
	for _, n := range peers {
		if n > maxMatrix {
			return fmt.Errorf("-n: %d, want at most %d: each pair has a group of its own", n, maxMatrix)
		}
		err := p.launch(ctx, n, f, bench.Job{Matrix: &bench.Matrix{}}, func(r bench.Result) {
			p.line.clear()
			if f.json {
				_ = json.NewEncoder(p.stdout).Encode(r.Matrix)
			} else {
				r.Matrix.Write(p.stdout)
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

const maxMatrix = 32
