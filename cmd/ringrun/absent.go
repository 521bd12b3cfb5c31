package main

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"
)

const (
	absentAfter      = 10 * time.Second // a worker that has not called elastic.Run by then is worth a word
	defaultStartWait = 10 * time.Minute // until it is given up
)

// expect looks, a while after a worker was started, whether it has called elastic.Run.
func (j *job) expect(p *peer) {
	p.began = time.Now()
	j.agenda.after(absentAfter, func() {
		if all := j.absent(absentAfter); slices.Contains(all, j.number(p)) {
			j.tellAbsent(all)
		}
	})
	if j.opts.startWait > 0 {
		j.agenda.after(j.opts.startWait, func() { j.giveUp(p) })
	}
}

func (j *job) number(p *peer) int { return slices.Index(j.peers, p) }

// absent lists the workers that run for at least so long and have not listened.
func (j *job) absent(since time.Duration) (all []int) {
	for i, p := range j.peers {
		if p.state == running && p.addr == "" && time.Since(p.began) >= since-absentAfter/10 {
			all = append(all, i)
		}
	}
	return all
}

// tellAbsent says once of each worker that it has not come.
func (j *job) tellAbsent(all []int) {
	all = slices.DeleteFunc(slices.Clone(all), func(i int) bool { return j.peers[i].missed })
	if len(all) == 0 || j.halting {
		return
	}
	for _, i := range all {
		j.peers[i].missed = true
	}
	until := "ringrun waits for ever (-start-timeout 0); Ctrl-C ends it"
	if j.opts.startWait > 0 {
		until = fmt.Sprintf("ringrun waits up to -start-timeout %v; Ctrl-C ends it", j.opts.startWait)
	}
	wait := ""
	switch {
	case !j.founded:
		wait = ", and the others wait for it"
	case j.opts.detach:
		wait = ", and -detach waits for that"
	}
	j.out.note("%s%s: does %s call it, and what does it do before? %s", notCome(all, absentAfter), wait, j.opts.prog, until)
}

func notCome(all []int, d time.Duration) string {
	var names []string
	for _, i := range all {
		names = append(names, fmt.Sprint(i))
	}
	runs, has := "runs", "has"
	if len(all) > 1 {
		runs, has = "run", "have"
	}
	return fmt.Sprintf("worker %s %s but %s not called elastic.Run within %v", strings.Join(names, ", "), runs, has, d)
}

// giveUp ends a run whose founder does not come; the others do without any other worker.
func (j *job) giveUp(p *peer) {
	all := j.absent(j.opts.startWait)
	if j.halting || !slices.Contains(all, j.number(p)) {
		return
	}
	why := fmt.Sprintf("%s (-start-timeout): %s must call it, or what it does before takes longer", notCome(all, j.opts.startWait), j.opts.prog)
	if !j.founded {
		j.fail("%s", why)
		return
	}
	j.out.note("%s; it is killed", why)
	for _, i := range all {
		j.peers[i].conn.send(request{Signal: syscall.SIGKILL, Only: []int{i}})
	}
}
