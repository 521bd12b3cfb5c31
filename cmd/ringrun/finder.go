package main

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"slices"
	"time"
)

const (
	findEvery = 2 * time.Second  // from one answer of the script to the next question
	findWait  = 10 * time.Second // for an answer
	maxAnswer = 1 << 20          // bytes of it
)

// A finder asks a script, again and again, which hosts there are.
type finder struct {
	script string // for a shell
	guard  *guard
	note   func(string, ...any)

	ill bool // that it does not answer has been said
}

// ask runs the script once.
func (f *finder) ask(ctx context.Context) ([]host, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, findWait, fmt.Errorf("no answer within %v", findWait))
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", f.script)
	var stdout, stderr limited
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := runGuarded(cmd, f.guard); err != nil {
		return nil, saidLast(ctx, err, stderr.Bytes())
	}
	if stdout.Len() > maxAnswer {
		return nil, fmt.Errorf("more than %d bytes", maxAnswer)
	}
	return parseHostLines(stdout.String())
}

// limited is a buffer that keeps little more than an answer may have.
type limited struct{ bytes.Buffer }

func (l *limited) Write(p []byte) (int, error) {
	if room := maxAnswer + 1 - l.Len(); room > 0 {
		l.Buffer.Write(p[:min(len(p), room)])
	}
	return len(p), nil
}

// next returns the next list that is not the one before. While the script fails or
// hangs there is none; that is said once.
func (f *finder) next(ctx context.Context, last []host) ([]host, error) {
	for {
		hosts, err := f.ask(ctx)
		switch {
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case err == nil:
			if f.ill {
				f.note("-hosts-from %s: it answers again", f.script)
			}
			f.ill = false
			if !slices.Equal(hosts, last) {
				return hosts, nil
			}
		case !f.ill:
			f.ill = true
			f.note("-hosts-from %s: %v; its last list holds", f.script, err)
		}
		select {
		case <-time.After(findEvery):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// first returns the first list that has room for so many workers.
func (f *finder) first(ctx context.Context, need int, patience time.Duration) ([]host, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("no %d slots within -elastic-timeout %v", need, patience))
	defer cancel()
	hosts, err := f.ask(ctx)
	for err == nil && slots(hosts) < need {
		f.note("waiting for hosts: there are %s, and %d are needed", count(slots(hosts), "slot"), need)
		hosts, err = f.next(ctx, hosts)
	}
	if err != nil {
		return nil, fmt.Errorf("-hosts-from %s: %w", f.script, err)
	}
	return hosts, nil
}

func slots(hosts []host) int {
	n := 0
	for _, h := range hosts {
		n += h.slots
	}
	return n
}

// settle asks for the hosts to begin with.
func (o *options) settle(ctx context.Context, f *finder) error {
	need := max(o.n, o.minN)
	hosts, err := f.first(ctx, need, max(o.minWait, findWait))
	if err != nil {
		return err
	}
	n := o.n
	if n == 0 {
		if n = slots(hosts); o.maxN > 0 {
			n = min(n, o.maxN)
		}
	}
	o.found, o.hosts = hosts, hosts
	if o.place, err = placeWorkers(hosts, n); err != nil {
		return err
	}
	o.n = len(o.place)
	o.hosts = hosts[:o.place[o.n-1]+1]
	return nil
}
