package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/urfave/cli/v3"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// interrupted is the error of a run that was ended by a signal to ringrun.
type interrupted syscall.Signal

func (s interrupted) Error() string { return "ended by " + unix.SignalName(syscall.Signal(s)) }

// launch is what the ringrun command does.
func launch(ctx context.Context, c *cli.Command) error {
	o, err := parseOptions(c, os.Args[1:])
	if err != nil {
		return err
	}
	out := o.printer()
	err = runJob(ctx, o, out)
	var sig interrupted
	if errors.As(err, &sig) {
		return exitStatus(128 + int(sig))
	}
	return out.ends(err)
}

func runJob(ctx context.Context, o options, out *printer) error {
	prog, err := findProgram(o.prog)
	if err != nil {
		return err
	}
	ctx, signals := catchSignals(ctx)
	recs := openRecords()
	cred, err := o.credential(ctx, recs)
	if err != nil {
		return err
	}
	if o.step != nil && o.step.rank == 0 {
		withdraw, err := o.step.tell("", cred.secret)
		if err != nil {
			return fmt.Errorf("the other tasks of the Slurm step: %w", err)
		}
		defer withdraw()
	}
	g, err := startGuard()
	if err != nil {
		return err
	}
	defer g.close()
	var hosts *finder
	if o.hostsFrom != "" {
		hosts = &finder{script: o.hostsFrom, guard: g, note: out.note}
		if err := o.settle(ctx, hosts); err != nil {
			return err
		}
	}
	j := newJob(o, cred, recs, out)
	if j.audit, err = openAudit(o.audit); err != nil {
		return err
	}
	defer j.audit.close()
	if err := j.connect(ctx, prog, g); err != nil {
		return pointToDoctor(err, o.hosts)
	}
	if hosts != nil {
		j.dialers.Go(func() { j.watch(j.life, hosts) })
	}
	if j.trace, err = j.traceRun(); err != nil {
		return err
	}
	defer j.endTrace()
	err = j.run(signals)
	j.refer(err)
	return err
}

// refer says where to look when a run has failed.
func (j *job) refer(err error) {
	dir, nowhere := boxFolder(j.cred.run())
	if ended := new(interrupted); err != nil && nowhere == nil && !errors.As(err, ended) && isFolder(dir) {
		j.out.note("ringrun autopsy %s tells what happened", j.cred.run())
	}
}

// credential finds the secret of the run; a task of a Slurm step that is not the
// first also learns whom to join.
func (o *options) credential(ctx context.Context, recs records) (credential, error) {
	if o.ticket {
		return o.redeem(ctx)
	}
	if o.step == nil || o.step.rank == 0 {
		cred, err := findCredential(*o, os.Getenv("RINGRUN_SECRET"), recs)
		if none := (*noSecret)(nil); errors.As(err, &none) {
			err = fmt.Errorf("-join %w", none)
			if none.ticket {
				err = fmt.Errorf("%w; or instead of the address a ticket (ringrun ticket, there)", err)
			}
		}
		return cred, err
	}
	rec, err := o.step.meet(ctx)
	o.join = []string{rec.Addr}
	return credential{secret: rec.Secret}, err
}

// catchSignals returns a context that the first signal cancels, and all signals.
// One that whoever started us wants ignored (nohup, a shell's background job)
// stays so.
func catchSignals(ctx context.Context) (context.Context, <-chan syscall.Signal) {
	ctx, cancel := context.WithCancelCause(ctx)
	raw, signals := make(chan os.Signal, 4), make(chan syscall.Signal, 4)
	for _, s := range []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		if !signal.Ignored(s) {
			signal.Notify(raw, s)
		}
	}
	go func() { // until the process ends
		for s := range raw {
			cancel(interrupted(s.(syscall.Signal)))
			select {
			case signals <- s.(syscall.Signal):
			default: // four are waiting: one more says nothing new
			}
		}
	}()
	return ctx, signals
}

// connect builds the program and starts an agent on every host. It tries the
// hosts first, so that one out of reach is named at once.
func (j *job) connect(ctx context.Context, prog program, g *guard) error {
	remotes, err := j.reachAll(ctx, g)
	if err != nil {
		return err
	}
	d := &depot{prog: prog, guard: g, out: j.out, kits: map[string]kit{}}
	for i, h := range j.opts.hosts {
		if _, err := d.kit(ctx, h, remotes[i].on()); err != nil {
			return err
		}
	}
	j.reach = func(ctx context.Context, h host) (*conn, error) { return j.latecomer(ctx, h, d) }
	dialing, dctx := errgroup.WithContext(ctx)
	conns := make([]*conn, len(j.opts.hosts))
	for i, h := range j.opts.hosts {
		dialing.Go(func() (err error) {
			conns[i], err = j.agentOn(dctx, h, remotes[i], d)
			return err
		})
	}
	err = dialing.Wait()
	j.conns = conns
	if err == nil {
		err = j.findPaths(ctx)
	}
	for _, c := range conns {
		if c != nil && err != nil {
			c.close()
		}
	}
	return err
}

// reachAll tries all hosts at once; this one has no remote.
func (j *job) reachAll(ctx context.Context, g *guard) ([]*remote, error) {
	remotes := make([]*remote, len(j.opts.hosts))
	reaching, rctx := errgroup.WithContext(ctx)
	for i, h := range j.opts.hosts {
		if h.local {
			continue
		}
		reaching.Go(func() (err error) {
			remotes[i], err = reach(rctx, h, j.opts.cache, g)
			return err
		})
	}
	return remotes, reaching.Wait()
}

// latecomer starts an agent on a host while the job runs.
func (j *job) latecomer(ctx context.Context, h host, d *depot) (*conn, error) {
	var r *remote
	var err error
	if !h.local {
		if r, err = reach(ctx, h, j.opts.cache, d.guard); err != nil {
			return nil, err
		}
	}
	c, err := j.agentOn(ctx, h, r, d)
	if err != nil {
		return nil, err
	}
	if err := j.settle(ctx, c); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

func (j *job) agentOn(ctx context.Context, h host, r *remote, d *depot) (*conn, error) {
	k, err := d.kit(ctx, h, r.on())
	if err != nil {
		return nil, err
	}
	self, exe := k.self.file, k.prog.file
	if r != nil {
		at, err := r.supply(ctx, j.out, k.self, k.prog)
		if err != nil {
			return nil, err
		}
		self, exe = at[0], at[1]
	}
	return dialAgent(ctx, h, self, exe, r, d.guard, j.opts.lease, j.out.note)
}
