package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"sync"
	"time"

	"github.com/ringrun/ringrun/cmd/ringrun/doctor"
	"github.com/ringrun/ringrun/cmd/ringrun/paths"
	"github.com/urfave/cli/v3"
	"golang.org/x/term"
)

func doctorCommand() *cli.Command {
	return &cli.Command{
		Name: "doctor", Usage: "tell what would keep a run from working, on this machine or between hosts",
		UsageText: "ringrun doctor [-H HOSTS | -hostfile FILE] [options]",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "H", Usage: "examine these `HOSTS`, and from each the ways to each other, as ringrun -H would use them"},
			&cli.StringFlag{Name: "hostfile", Usage: "the hosts are in this `FILE`"},
			&cli.StringFlag{Name: "cache", Usage: "they keep ringrun in this `DIR` (default: ~/.cache/ringrun there)"},
			&cli.StringFlag{Name: "network", Usage: "peers are to reach each other by these `NETWORKS` only: 10.1.0.0/16, or names of interfaces"},
			&cli.IntFlag{Name: "port", Usage: "the founder is to listen on this `PORT`"},
			&cli.StringFlag{Name: "output", Usage: "workers are to write in this `DIR`"},
			&cli.StringFlag{Name: "checkpoint", Usage: "checkpoints are to go to this `DIR`"},
			&cli.BoolFlag{Name: "json", Usage: "print all that was found out as one JSON object"},
		},
		Action: func(ctx context.Context, c *cli.Command) error {
			hosts, err := findHosts(c, os.Getenv)
			if err != nil {
				return err
			}
			if port := c.Int("port"); port < 0 || port > 65535 {
				return usagef("-port %d: want 1 to 65535", port)
			}
			if len(hosts) == 0 {
				hosts = []host{{name: "localhost", slots: 1, local: true}}
			}
			ctx, _ = catchSignals(ctx)
			x := newExam(hosts, c.Int("port"), newPrinter(os.Stdout, os.Stderr))
			x.cache = c.String("cache")
			if c.IsSet("network") {
				if x.network, err = paths.ParseFilter(c.String("network")); err != nil {
					return usagef("-network %s: %w", c.String("network"), err)
				}
			}
			if x.cache != "" && !path.IsAbs(x.cache) {
				return usagef("-cache %s: want a path that begins with /", x.cache)
			}
			for _, dir := range []string{c.String("output"), c.String("checkpoint")} {
				if dir != "" {
					x.dirs = append(x.dirs, dir)
				}
			}
			return x.report(ctx, os.Stdout, c.Bool("json"))
		},
	}
}

// An exam is one examination of some hosts.
type exam struct {
	hosts []host
	port  int
	dirs  []string
	cache string // folder for copies on the hosts
	out   *printer
	token doctor.Token

	network  paths.Filter // that a run is to use
	patients []*patient
}

// A patient is a host under examination. Its fields are filled in one stage after
// the other; the goroutines of a stage work on different patients or pairs.
type patient struct {
	host
	ward   *ward // nil if the host cannot be used
	facts  doctor.Facts
	port   int                    // at which it answers probes
	use    string                 // the address that peers on it bind
	wanted func(addr string) bool // nil: any
	ahead  time.Duration
	unsure time.Duration
	ways   map[int][]doctor.Way // to the others, by their index

	findings []doctor.Finding
}

func newExam(hosts []host, port int, out *printer) *exam {
	x := &exam{hosts: hosts, port: port, out: out}
	rand.Read(x.token[:]) // never fails: see its documentation
	for _, h := range hosts {
		x.patients = append(x.patients, &patient{host: h, ways: map[int][]doctor.Way{}})
	}
	return x
}

func (x *exam) report(ctx context.Context, w io.Writer, asJSON bool) error {
	findings, err := x.run(ctx)
	if err != nil {
		return err
	}
	if asJSON {
		err = x.printJSON(w, findings)
	} else {
		width := 0
		if term.IsTerminal(int(os.Stdout.Fd())) {
			width, _, _ = term.GetSize(int(os.Stdout.Fd())) // 0: as wide as it comes
		}
		err = doctor.Print(w, findings, width, wantsColour(os.Stdout))
	}
	if err == nil && doctor.Sick(findings) {
		return exitStatus(1)
	}
	return err
}

func (x *exam) run(ctx context.Context) ([]doctor.Finding, error) {
	g, err := startGuard()
	if err != nil {
		return nil, err
	}
	defer g.close()
	defer x.dismiss()
	x.admit(ctx, g)
	x.interview(ctx)
	x.compare(ctx)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return x.diagnose(), nil
}

// each does something with all patients that can be used, at once.
func (x *exam) each(f func(p *patient) error) {
	var all sync.WaitGroup
	for _, p := range x.patients {
		if p.ward != nil {
			all.Go(func() {
				if err := f(p); err != nil {
					p.fail("agent", err)
				}
			})
		}
	}
	all.Wait()
}

// fail notes an error as a finding.
func (p *patient) fail(check string, err error) {
	f := doctor.Finding{Status: doctor.Fail, Host: p.name, Check: check, Found: err.Error(),
		Cause: "the agent there does not do what it should", Remedy: "ssh " + p.name + " by hand; what it said is above"}
	var t *doctor.Trouble
	if errors.As(err, &t) {
		f.Found, f.Cause, f.Remedy = t.Said, t.Cause, t.Remedy
	}
	p.findings = append(p.findings, f)
}

// admit starts an agent on every host.
func (x *exam) admit(ctx context.Context, g *guard) {
	var all sync.WaitGroup
	for _, p := range x.patients {
		all.Go(func() {
			begin := time.Now()
			c, err := x.dial(ctx, p.host, g)
			if err != nil {
				p.fail(p.door(), err)
				return
			}
			p.ward = newWard(c)
			p.findings = append(p.findings, doctor.Finding{Status: doctor.OK, Host: p.name, Check: p.door(),
				Found: fmt.Sprintf("an agent runs there, after %v", time.Since(begin).Round(10*time.Millisecond))})
		})
	}
	all.Wait()
}

// door is how the host is entered.
func (p *patient) door() string {
	switch {
	case p.local:
		return "agent"
	case p.via == viaSlurm:
		return "srun"
	}
	return "ssh"
}

func (x *exam) dial(ctx context.Context, h host, g *guard) (*conn, error) {
	var r *remote
	var err error
	if !h.local {
		if r, err = reach(ctx, h, x.cache, g); err != nil {
			return nil, err
		}
	}
	self, err := selfFor(ctx, h, r.on(), program{}, g, x.out)
	if err != nil {
		return nil, err
	}
	if r != nil {
		at, err := r.supply(ctx, x.out, self)
		if err != nil {
			return nil, err
		}
		self.file = at[0]
	}
	return dialAgent(ctx, h, self.file, "", r, g, defaultLease, x.out.note)
}

// dismiss ends the agents.
func (x *exam) dismiss() {
	x.each(func(p *patient) error {
		p.ward.close()
		return nil
	})
}

func (x *exam) printJSON(w io.Writer, findings []doctor.Finding) error {
	type person struct {
		Name  string        `json:"name"`
		Use   string        `json:"use,omitempty"`
		Ahead time.Duration `json:"clock_ahead_ns"`
		Sure  time.Duration `json:"clock_uncertain_ns"`
		Facts doctor.Facts  `json:"facts"`
	}
	type pair struct {
		From string       `json:"from"`
		To   string       `json:"to"`
		Ways []doctor.Way `json:"ways"`
	}
	out := struct {
		OK       bool             `json:"ok"`
		Findings []doctor.Finding `json:"findings"`
		Hosts    []person         `json:"hosts"`
		Pairs    []pair           `json:"pairs,omitempty"`
	}{OK: !doctor.Sick(findings), Findings: findings}
	for _, p := range x.patients {
		out.Hosts = append(out.Hosts, person{p.name, p.use, p.ahead, p.unsure, p.facts})
		for to, ways := range p.ways {
			out.Pairs = append(out.Pairs, pair{p.name, x.patients[to].name, ways})
		}
	}
	slices.SortFunc(out.Pairs, func(a, b pair) int { return compareStrings(a.From, a.To, b.From, b.To) })
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(out)
}
