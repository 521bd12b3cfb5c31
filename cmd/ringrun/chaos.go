package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/ringrun/ringrun/elastic/chaos"
	"github.com/urfave/cli/v3"
)

const chaosHelp = `Starts PROG on peers of this machine, lets faults happen to them, and says at the
end whether the run kept its promises: it completed, every sample was consumed
once, the survivors hold equal bits after every step, there never were two groups,
nothing hung, and nothing is left behind. Exit status 1 if it did not.

A script has one fault a line: kill p2 at step 7 · stop p1 for 3s · join 1 at step
20 · drain p0 at step 30 · cut {p0 p1} {p2 p3} for 5s · slow p1 10ms for 5s · wait
2s. Each takes effect after the one before, or later if it says: at step N, after
TIME. To cut, every worker gets a network namespace of its own, which needs root.`

func chaosCommand() *cli.Command {
	progIsFirst := 1
	return &cli.Command{
		Name: "chaos", Usage: "let faults happen to a run, and check that it keeps its promises",
		ArgsUsage: "PROG [arguments of PROG]", Description: chaosHelp, StopOnNthArg: &progIsFirst,
		Flags: []cli.Flag{
			&cli.IntFlag{Name: "n", Value: 4, Usage: "begin with `N` workers"},
			&cli.StringFlag{Name: "script", Usage: "the faults are in this `FILE`"},
			&cli.Uint64Flag{Name: "seed", Usage: "invent them from this `SEED` (default: a new one)"},
			&cli.IntFlag{Name: "faults", Value: 20, Usage: "how many to invent"},
			&cli.StringFlag{Name: "without", Usage: "invent none of these `KINDS`, such as cut,drain"},
			&cli.IntFlag{Name: "most", Value: 6, Usage: "at most `N` workers at a time, when faults are invented"},
			&cli.DurationFlag{Name: "pause", Value: time.Second, Usage: "the longest `TIME` between two invented faults"},
			&cli.StringFlag{Name: "transport", Value: "auto", Usage: "as of ringrun: `auto|shm|tcp|rtc`"},
			&cli.StringFlag{Name: "codec", Value: "raw", Usage: "as of ringrun: `raw|half|zstd`"},
			&cli.DurationFlag{Name: "silence", Value: time.Second, Usage: "as of ringrun"},
			&cli.StringFlag{Name: "on-partition", Value: "pause", Usage: "as of ringrun: `pause|stop|prefer=ID`"},
			&cli.StringFlag{Name: "log", Value: "warn", Usage: "what workers log: `debug|info|warn`"},
			&cli.BoolFlag{Name: "apart", Usage: "give every worker a network namespace of its own, also if nothing is cut"},
			&cli.DurationFlag{Name: "hang", Value: 5 * time.Second, Usage: "the longest `TIME` without a step while nobody is cut off and most are not stopped"},
			&cli.DurationFlag{Name: "timeout", Value: 10 * time.Minute, Usage: "kill all after this `TIME`"},
		},
		Action: runChaos,
	}
}

// A trial is a run of the chaos command.
type trial struct {
	n         int
	faults    []chaos.Fault // of a script; none: they are invented
	random    *chaos.Random
	count     int // of faults to invent
	seed      uint64
	transport string
	codec     string
	silence   time.Duration
	policy    string
	log       string
	apart     bool
	hang      time.Duration
	timeout   time.Duration
	prog      string
	args      []string
}

func runChaos(ctx context.Context, c *cli.Command) error {
	t, err := parseTrial(c)
	if err != nil {
		return err
	}
	prog, err := findProgram(t.prog)
	if err != nil {
		return err
	}
	ctx, _ = catchSignals(ctx)
	ctx, cancel := context.WithTimeoutCause(ctx, t.timeout, fmt.Errorf("not over after %v", t.timeout))
	defer cancel()
	g, err := startGuard()
	if err != nil {
		return err
	}
	defer g.close()
	out := newPrinter(os.Stdout, os.Stderr)
	exe, err := prog.build(ctx, thisPlatform, g, out.note, os.Stderr)
	if err != nil {
		return err
	}
	tr, err := newTroupe(t, exe, g, out)
	if err != nil {
		return err
	}
	defer tr.close()
	err = t.play(ctx, tr)
	if verdict := tr.verdict(err); !verdict {
		return exitStatus(1)
	}
	return nil
}

func parseTrial(c *cli.Command) (*trial, error) {
	t := &trial{
		n: c.Int("n"), count: c.Int("faults"), seed: c.Uint64("seed"), apart: c.Bool("apart"),
		transport: c.String("transport"), codec: c.String("codec"), silence: c.Duration("silence"),
		policy: c.String("on-partition"), log: c.String("log"), hang: c.Duration("hang"), timeout: c.Duration("timeout"),
	}
	args := c.Args().Slice()
	switch {
	case t.n < 1 || t.n > maxApart:
		return nil, usagef("-n %d: want 1 to %d workers", t.n, maxApart)
	case len(args) == 0:
		return nil, usagef("no PROG: which program shall the workers run?")
	case c.IsSet("script") && c.IsSet("seed"):
		return nil, usagef("-script and -seed: which of the two?")
	}
	t.prog, t.args = args[0], args[1:]
	if c.IsSet("script") {
		text, err := os.ReadFile(c.String("script"))
		if err != nil {
			return nil, usagef("-script: %w", err)
		}
		if t.faults, err = chaos.Parse(string(text), t.n); err != nil {
			return nil, usagef("-script %s: %w", c.String("script"), err)
		}
		cuts := slices.ContainsFunc(t.faults, func(f chaos.Fault) bool { return f.Kind == chaos.Cut })
		if err := mayPart(); (cuts || t.apart) && err != nil {
			return nil, fmt.Errorf("cut: %w", err)
		}
		t.apart = t.apart || cuts
		return t, nil
	}
	return t, t.invent(c)
}

// invent prepares faults from a seed.
func (t *trial) invent(c *cli.Command) error {
	if t.seed == 0 {
		t.seed = rand.Uint64N(1 << 32)
	}
	kinds := []chaos.Kind{chaos.Kill, chaos.Stop, chaos.Join, chaos.Drain, chaos.Cut, chaos.Slow}
	for k := range strings.SplitSeq(c.String("without"), ",") {
		if k != "" && !slices.Contains(kinds, chaos.Kind(k)) {
			return usagef("-without %s: %q is no kind of fault", c.String("without"), k)
		}
		kinds = slices.DeleteFunc(kinds, func(have chaos.Kind) bool { return have == chaos.Kind(k) })
	}
	cuts := slices.Contains(kinds, chaos.Cut)
	if err := mayPart(); (cuts || t.apart) && err != nil {
		return fmt.Errorf("cut: %w (-without cut leaves that out)", err)
	}
	if len(kinds) == 0 {
		return usagef("-without %s: nothing is left", c.String("without"))
	}
	t.apart = t.apart || cuts
	t.random = &chaos.Random{Rng: rand.New(rand.NewPCG(t.seed, 0)), Allowed: kinds, Most: c.Int("most"), Pause: c.Duration("pause")}
	return nil
}

// play starts the workers, lets the faults happen, and waits for the end.
func (t *trial) play(ctx context.Context, tr *troupe) error {
	if err := tr.begin(ctx); err != nil {
		return err
	}
	p := &chaos.Player{Stage: tr, Say: tr.out.note}
	fctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		tr.await(fctx, tr.over)
		cancel(errProgramEnded)
	}()
	var err error
	if t.random == nil {
		err = p.Play(fctx, t.faults)
	} else {
		tr.out.note("faults of seed %d", t.seed)
		err = t.playRandom(fctx, p, tr)
	}
	p.Wait()
	if ctx.Err() == nil && err == nil {
		tr.out.note("all faults have happened; waiting for the program to end")
		err = tr.await(ctx, tr.over)
	}
	return err
}

var errProgramEnded = errors.New("the program had ended before all faults had happened: let it make more steps")

func (t *trial) playRandom(ctx context.Context, p *chaos.Player, tr *troupe) error {
	if err := tr.Await(ctx, 1); err != nil {
		return err
	}
	for done := 0; done < t.count; {
		view, living := tr.roster()
		f := t.random.Next(view, living, time.Now())
		if err := p.One(ctx, f); err != nil {
			return err
		}
		if f.Kind != chaos.Wait {
			done++
		}
	}
	return nil
}
