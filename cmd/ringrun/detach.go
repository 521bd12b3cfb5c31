package main

import (
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// detachWait is how long a group may take to come together, once all its workers
// listen, before the launcher leaves it alone.
const detachWait = 30 * time.Second

// detach makes the agent independent of the launcher and of the terminal.
func (a *agent) detach() {
	a.outMu.Lock()
	a.out = nil
	a.outMu.Unlock()
	if null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0); err == nil {
		for fd := range 3 { // ssh waits until nobody holds its pipes
			_ = unix.Dup2(int(null.Fd()), fd)
		}
		null.Close()
	}
	a.detached = true
}

// mayLeave leaves the group alone when it has come together. What a program does
// before its worker listens may take its time.
func (j *job) mayLeave() {
	switch {
	case j.together():
		j.leave()
	case j.founded && !j.gathering && !slices.ContainsFunc(j.peers, (*peer).silent):
		j.gathering = true
		j.deadline.Reset(detachWait)
	}
}

// silent reports whether a worker is still to tell where it listens.
func (p *peer) silent() bool { return p.state == waiting || p.state == running && p.addr == "" }

// together reports whether all workers that were started are in one view.
func (j *job) together() bool {
	for _, p := range j.peers {
		if p.state == waiting || p.state == running && !j.views.has(p.id) {
			return false
		}
	}
	return j.founded
}

// leave lets the job go on without this launcher.
func (j *job) leave() {
	for _, remove := range j.unrecord { // those would end with this process
		remove()
	}
	j.unrecord = nil
	for _, p := range j.peers {
		if p.state == running && p.addr != "" {
			if err := j.recs.keep(p.addr, j.cred.secret); err != nil {
				j.out.note("ringrun status and the others will need the secret, it cannot be recorded: %v", err)
			}
		}
	}
	for _, c := range j.conns {
		c.send(request{Detach: true})
	}
	addr := j.peers[j.door].addr
	goOn := count(j.left(), "worker") + " go on"
	if j.left() == 1 {
		goOn = "1 worker goes on"
	}
	j.out.note("%s without this launcher; see ringrun status %s, and logs, top, stop", goOn, addr)
	for _, c := range j.conns {
		c.leave()
	}
	j.gone = true
}

// leave lets go of an agent that has been told to stay.
func (c *conn) leave() {
	c.in.close()
	if c.host.local {
		select {
		case <-c.in.sent:
		case <-time.After(killWait): // it does not read: the end of its stdin ends it
		}
		_ = c.cmd.Process.Release()
		return
	}
	late := time.AfterFunc(2*orphanGrace+killWait, c.kill) // ssh, not the agent at its other end
	defer late.Stop()
	c.wait()
}
