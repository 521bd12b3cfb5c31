package main

import (
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// fail ends the job as a whole.
func (j *job) fail(format string, args ...any) {
	if !j.broken {
		j.broken = true
		j.out.note(format, args...)
	}
	j.halt(syscall.SIGTERM)
}

// interrupt passes the first signal on; a second one kills.
func (j *job) interrupt(s syscall.Signal) {
	if j.sig != 0 {
		j.kill()
		return
	}
	j.sig = s
	j.halt(s)
	j.out.note("%s: passed on to the workers; once more kills them", unix.SignalName(s))
}

// halt asks all workers to end and starts the grace.
func (j *job) halt(s syscall.Signal) {
	for _, p := range j.peers {
		if p.state == waiting || p.state == due {
			p.state = dropped
		}
	}
	j.signal(s)
	if !j.halting {
		j.halting = true
		j.deadline.Reset(j.opts.grace)
	}
}

func (j *job) signal(s syscall.Signal) {
	for _, c := range j.conns {
		c.send(request{Signal: s})
	}
}

// late is called when the deadline has passed, whichever it is.
func (j *job) late() {
	switch {
	case j.halting:
		j.kill()
	case j.gathering:
		j.fail("the workers have not come together within %v", detachWait)
	}
}

// kill kills the workers and, if that does not help, their agents: whoever does
// not answer is then given up.
func (j *job) kill() {
	j.kills++
	if j.kills == 1 {
		j.out.note("killing %s", count(j.left(), "worker"))
		j.signal(syscall.SIGKILL)
		j.deadline.Reset(killGrace)
		return
	}
	for _, c := range j.conns {
		c.kill()
	}
	for _, p := range j.peers {
		if p.state == running {
			p.state = killed
		}
	}
}

// verdict is how it went.
func (j *job) verdict() error {
	n := map[state]int{}
	for _, p := range j.peers {
		n[p.state]++
	}
	places := len(j.peers) - n[replaced]
	switch {
	case j.gone:
		return nil
	case j.sig == syscall.SIGTERM && j.allDrained():
		return nil
	case j.sig != 0:
		return interrupted(j.sig)
	case j.broken:
		return exitStatus(1)
	case n[failed] > 0:
		j.out.note("the job failed: %d of %s failed", n[failed], count(places, "worker"))
		return exitStatus(1)
	case n[finished]+n[missed] < j.opts.minN:
		j.out.note("the job failed: %s finished, -min-n is %d", count(n[finished], "worker"), j.opts.minN)
		return exitStatus(1)
	case n[killed]+n[dropped]+n[missed] > 0:
		j.out.note("done: %d of %s finished", n[finished], count(places, "worker"))
	}
	return nil
}

// allDrained reports whether every worker has left between two steps.
func (j *job) allDrained() bool {
	return !slices.ContainsFunc(j.peers, func(p *peer) bool {
		return p.state != replaced && (!p.drained || p.state != finished)
	})
}
