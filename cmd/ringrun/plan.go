package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"time"

	"github.com/ringrun/ringrun/bench/plan"
	"github.com/urfave/cli/v3"
)

func planCommand() *cli.Command {
	return &cli.Command{
		Name: "plan", Usage: "predict how long a step takes among many peers, what limits it, and what would help",
		Description: "The links are given by -bandwidth and -latency, or were measured: by ringrun doctor -json (-links), or by\n" +
			"a run that goes on (-from), which also tells what a step takes one peer, and how much it sends.\n\n" +
			"  ringrun plan -n 64 -params 25M -batch 32 -compute 180ms -bandwidth 1Gbit -latency 100us",
		Flags: []cli.Flag{
			&cli.IntFlag{Name: "n", Usage: "how many peers (default: 8, or those of -from)"},
			&cli.IntFlag{Name: "slots", Value: 1, Usage: "how many of them on each host"},
			&cli.StringFlag{Name: "params", Usage: "parameters of the model, such as 25M"},
			&cli.IntFlag{Name: "width", Value: 4, Usage: "bytes of a gradient's element"},
			&cli.StringFlag{Name: "codec", Usage: "how they are written: raw or half (default: raw, or that of -from)"},
			&cli.DurationFlag{Name: "compute", Usage: "what a forward and backward pass takes one peer"},
			&cli.DurationFlag{Name: "update", Usage: "what the update of the parameters takes"},
			&cli.IntFlag{Name: "batch", Usage: "samples of one peer in a step"},
			&cli.StringFlag{Name: "batch-policy", Value: "scale", Usage: "with more peers: scale (the batch of each stays) or constant (that of all)"},
			&cli.StringFlag{Name: "bandwidth", Usage: "of the link of each host: 1Gbit, 100Mbit, 10Gbit (of which 94 % is payload), or 118MB of payload a second"},
			&cli.DurationFlag{Name: "latency", Value: defaultHop, Usage: "of a message between hosts, with what the processors do for it"},
			&cli.StringFlag{Name: "links", Usage: "measured by ringrun doctor -json: `FILE`; the slowest counts"},
			&cli.StringFlag{Name: "from", Usage: "measure the run that has a peer at `ADDR`"},
			&cli.BoolFlag{Name: "late", Usage: "nothing travels during the backward pass"},
			&cli.StringFlag{Name: "bucket", Value: "256K", Usage: "bytes of gradients that travel together"},
			&cli.FloatFlag{Name: "jitter", Value: 0.02, Usage: "how much the computation varies from peer to peer, as a share of it"},
			&cli.BoolFlag{Name: "json", Usage: "print one JSON object"},
			&cli.StringFlag{Name: "plot", Usage: "also draw the efficiency in `FILE`, an .svg"},
			&cli.StringFlag{Name: "secret-file", Usage: "for -from: the run's secret is in this `FILE`"},
		},
		Action: func(ctx context.Context, c *cli.Command) error {
			p, err := parsePlan(ctx, c)
			if err != nil {
				return err
			}
			if err := p.predict(); err != nil {
				return err
			}
			if file := c.String("plot"); file != "" {
				if err := os.WriteFile(file, p.svg(), 0o666); err != nil {
					return err
				}
			}
			if c.Bool("json") {
				enc := json.NewEncoder(os.Stdout)
				enc.SetIndent("", "  ")
				return enc.Encode(p)
			}
			return p.print(os.Stdout)
		},
	}
}

const (
	defaultHop = 50 * time.Microsecond
	hopWork    = 20 * time.Microsecond // of the processors, for a message
	payload    = 0.94                  // of the line rate, as measured
)

// A forecast is what plan prints.
type forecast struct {
	Setup  plan.Setup        `json:"setup"`
	Table  []plan.Prediction `json:"table"`
	Advice []plan.Advice     `json:"advice,omitempty"`
	Run    *observed         `json:"run,omitempty"` // the run that was measured
}

func parsePlan(ctx context.Context, c *cli.Command) (*forecast, error) {
	p := &forecast{Setup: plan.Setup{Slots: c.Int("slots"), Width: c.Int("width"), Late: c.Bool("late"), Jitter: c.Float("jitter")}}
	s := &p.Setup
	switch policy := c.String("batch-policy"); policy {
	case "constant", "scale":
		s.Constant = policy == "constant"
	default:
		return nil, usagef("-batch-policy %s: want constant, scale", policy)
	}
	if file := c.String("plot"); file != "" && !strings.HasSuffix(file, ".svg") {
		return nil, usagef("-plot %s: want an .svg", file)
	}
	if c.IsSet("links") {
		var err error
		if s.Link, err = slowestLink(c.String("links")); err != nil {
			return nil, err
		}
	}
	if addr := c.String("from"); addr != "" {
		if err := p.observe(ctx, c, addr); err != nil {
			return nil, err
		}
	}
	return p, p.given(c)
}

// given takes what the command line says: it counts more than what was measured.
func (p *forecast) given(c *cli.Command) (err error) {
	s := &p.Setup
	if s.Peers == 0 || c.IsSet("n") {
		s.Peers = 8
		if c.IsSet("n") {
			s.Peers = c.Int("n")
		}
	}
	if c.IsSet("params") {
		if s.Params, err = parseCount(c.String("params")); err != nil {
			return usagef("-params: %w", err)
		}
	}
	if c.IsSet("compute") {
		s.Compute = c.Duration("compute")
	}
	s.Update = max(s.Update, c.Duration("update"))
	s.Batch = c.Int("batch")
	if c.IsSet("codec") {
		s.Codec = c.String("codec")
	}
	if s.Bucket, err = parseBytes(c.String("bucket")); err != nil {
		return usagef("-bucket: %w", err)
	}
	if c.IsSet("bandwidth") {
		if s.Link.Bandwidth, err = parseBandwidth(c.String("bandwidth")); err != nil {
			return usagef("-bandwidth: %w", err)
		}
	}
	if c.IsSet("latency") || s.Link.Latency == 0 {
		s.Link.Latency = c.Duration("latency")
	}
	switch {
	case s.Params == 0:
		return usagef("-params: how many parameters has the model? -params 25M, say, or -from a run that has it")
	case s.Compute == 0:
		return usagef("-compute: what does a step take one peer? -compute 180ms, say, or -from a run")
	case s.Peers > s.Slots && s.Link.Bandwidth == 0 && c.IsSet("from"):
		return usagef("-bandwidth: what will the links between the hosts carry? The peers of -from share the memory of one, so it is not known: 1Gbit, say; or -links")
	case s.Peers > s.Slots && s.Link.Bandwidth == 0:
		return usagef("-bandwidth: what do the links between the hosts carry? 1Gbit, say; or -links, or -from")
	}
	return nil
}

func (p *forecast) predict() (err error) {
	if p.Table, err = p.Setup.Table(); err == nil {
		p.Advice, err = p.Setup.Advice()
	}
	var mistake *plan.ErrSetup
	if errors.As(err, &mistake) {
		return usagef("%s", mistake.Why)
	}
	return err
}
