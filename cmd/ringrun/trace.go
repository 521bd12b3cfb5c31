package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v3"
)

func traceCommand() *cli.Command {
	return &cli.Command{
		Name: "trace", Usage: "record what all peers do, as a timeline for chrome://tracing or ui.perfetto.dev", ArgsUsage: "[ADDR]",
		Flags: askFlags(
			&cli.StringFlag{Name: "o", Value: "trace.json", Usage: "write the timeline to this `FILE`"},
			&cli.DurationFlag{Name: "for", Value: 5 * time.Second, Usage: "record for this `TIME`, or until Ctrl-C"}),
		Action: func(ctx context.Context, c *cli.Command) error {
			if c.Duration("for") <= 0 {
				return usagef("-for %v: want a time above 0", c.Duration("for"))
			}
			a, err := newAsker(c, c.Args().First())
			if err != nil {
				return err
			}
			ctx, _ = catchSignals(ctx)
			ctx, cancel := context.WithTimeout(ctx, c.Duration("for"))
			defer cancel()
			return a.trace(ctx, c.String("o"), newPrinter(os.Stdout, os.Stderr))
		},
	}
}

// traceOptions are those of a run that is recorded from its start.
type traceOptions struct {
	file string
	limits
}

func traceFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "trace", Usage: "record what all peers do, from the first step on, to this `FILE`: a timeline for chrome://tracing or ui.perfetto.dev"},
		&cli.IntFlag{Name: "trace-steps", Usage: "of the first `N` steps only"},
		&cli.IntFlag{Name: "trace-mb", Value: 256, Usage: "when FILE has this many `MB` it becomes FILE.1, in place of an older one"},
	}
}

func parseTrace(c *cli.Command) (traceOptions, error) {
	o := traceOptions{c.String("trace"), limits{uint64(max(c.Int("trace-steps"), 0)), c.Int("trace-mb")}}
	switch {
	case c.Int("trace-steps") < 0:
		return o, usagef("-trace-steps %d: want a number of steps", c.Int("trace-steps"))
	case o.megabytes < 1:
		return o, usagef("-trace-mb %d: want at least 1", o.megabytes)
	case o.file == "" && (c.IsSet("trace-steps") || c.IsSet("trace-mb")):
		return o, usagef("-trace-steps and -trace-mb are for -trace FILE")
	case o.file != "" && c.Bool("detach"):
		return o, usagef("-trace %s: the launcher writes it, and with -detach there is none; ringrun trace records a run that goes on", o.file)
	}
	return o, nil
}

// trace records until ctx ends, or all peers do.
func (a *asker) trace(ctx context.Context, file string, out *printer) error {
	first, err := a.first(ctx)
	if err != nil {
		return err
	}
	r, err := a.record(ctx, file, limits{megabytes: 256})
	if err != nil {
		return err
	}
	for _, p := range first.Peers {
		r.add(p)
	}
	r.wait(ctx)
	return r.close(out)
}

// clockLooks is how often the clock of a peer is read; the quickest answer is the
// most exact.
const clockLooks = 8

// clock returns by how many nanoseconds the clock of a peer is ahead of ours.
func (a *asker) clock(ctx context.Context, addr string) (ahead int64, err error) {
	best := time.Duration(1 << 62)
	for range clockLooks {
		var b strings.Builder
		began := time.Now()
		if err := a.copy(ctx, &b, addr, "/clock"); err != nil {
			return 0, err
		}
		took := time.Since(began)
		there, err := strconv.ParseInt(b.String(), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("peer at %s: its clock says %q", addr, b.String())
		}
		if took < best {
			best, ahead = took, there-began.Add(took/2).UnixNano()
		}
	}
	return ahead, nil
}
