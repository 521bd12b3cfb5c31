package main

import (
	"encoding/json"
	"strings"
	"sync"

	"github.com/ringrun/ringrun/elastic"
	"github.com/ringrun/ringrun/membership"
)

// report takes what a worker tells about its group.
func (j *job) report(i int, line []byte) {
	var r struct {
		Event string
		ID    string
		Addr  string
		Epoch uint64
		Peers []string
		Addrs []string
		Error string
		File  string
		Steps uint64
		For   string
		Count int

		Group   string
		Retries uint64
		Late    bool
		Final   bool
		Record  json.RawMessage
		Slow    *elastic.Slow
	}
	if err := json.Unmarshal(line, &r); err != nil {
		j.out.note("worker %d reports what is not JSON: %q", i, line)
		return
	}
	p := j.peers[i]
	if r.ID != "" { // a peer that starts anew has a new one
		p.id = r.ID
		j.views.index[r.ID] = i
	}
	switch r.Event {
	case "listening":
		p.addr = r.Addr
		j.record(p, r.Addr)
		j.trace.add(elastic.StatusPeer{ID: r.ID, Addr: r.Addr})
		if i == 0 && !j.founded && !j.halting {
			j.found(r.Addr)
		}
	case "view":
		p.seen = true
		j.learn(r.Epoch, r.Addrs)
		if j.views.add(r.Epoch, r.Peers) {
			j.hold.Reset(viewHold)
			j.tellViews(false)
		}
	case "few":
		j.tellFew(r.Epoch, len(r.Peers), r.Count)
	case "restored":
		j.tellRestored(i, r.File, r.Steps)
	case "done":
		j.spread(membership.End{Group: r.Group, Epoch: r.Epoch, Steps: r.Steps})
		j.over = true
		j.views.finished[p.id] = true
		j.tellViews(false)
	case "drained":
		p.drained = true
		j.views.finished[p.id] = true
		j.out.note("worker %d has left after step %d", i, r.Steps)
		j.tellViews(false)
	case "over":
		j.over, p.over = true, true
		j.views.finished[p.id] = true
		j.out.note("worker %d comes when the run has ended, and has nothing to do any more; it had %s", i, count(int(r.Steps), "step"))
		j.tellViews(false)
	case "lingers":
		j.tellLingers(r.Steps, r.Peers)
	case "audit":
		if err := j.audit.write(r.Record); err != nil {
			j.out.note("-audit: %v", err)
		}
	case "diverged":
		j.diverged(r.Error)
	case "stalled":
		j.stalled(r.Steps, r.Peers, r.For)
	case "ending":
		p.asked = true
	case "silent":
		j.silent(r.Peers, r.Error)
	case "slow", "recovered":
		j.slow(r.Slow, r.Event == "slow")
	case "page":
		j.tellPage(p, r.Addr)
	case "metrics":
		j.tellMetrics(p, r.Addr)
	case "failed":
		p.why, p.late, p.final = r.Error, r.Late, r.Final
	}
}

// tellFew says once that a view has too few peers.
func (j *job) tellFew(epoch uint64, n, want int) {
	if epoch <= j.lastFew || j.halting {
		return
	}
	j.lastFew = epoch
	j.tellViews(true)
	j.out.note("%s in view %d, and -min-n is %d: nobody trains until there are more, for at most %v", count(n, "peer"), epoch, want, j.opts.minWait)
}

// tellLingers says once for whom the workers wait when all is done.
func (j *job) tellLingers(steps uint64, ids []string) {
	if !j.lingers && !j.halting {
		j.lingers = true
		j.out.note("all %d steps are done; waiting some seconds for %s, which may come back for the result", steps, strings.Join(j.views.names(ids), ", "))
	}
}

// diverged says once what all peers report.
func (j *job) diverged(what string) {
	if what != j.lastDiverged {
		j.lastDiverged = what
		j.out.note("%s", what)
	}
}

func (j *job) tellViews(all bool) {
	for _, line := range j.views.lines(all, func(i int) bool { return j.peers[i].state == running }) {
		if !j.halting {
			j.out.note("%s", line)
		}
	}
	j.tellDoor()
}

// tellDoor tells another address for joining when the worker at the last one told
// is gone.
func (j *job) tellDoor() {
	if !j.founded || j.halting || j.peers[j.door].state == running {
		return
	}
	for i, p := range j.peers {
		if p.state == running && p.addr != "" && !j.views.finished[p.id] {
			j.door = i
			j.note(p.addr, "")
			return
		}
	}
}

// note tells how to join at an address.
func (j *job) note(addr, prefix string) {
	how := ""
	if j.cred.shared != "" {
		how = " (elsewhere with the same secret)"
	}
	j.out.note("%sone more peer: %s%s", prefix, j.opts.joining(addr), how)
}

// joining is the command that starts one more peer of this run: with all that the
// peers must have alike.
func (o *options) joining(addr string) string {
	words := []string{"ringrun", "-join", addr}
	for _, f := range []struct{ name, value, usual string }{
		{"-transport", o.transport, "auto"}, {"-tls", o.tls, "auto"}, {"-codec", o.codec, "raw"}, {"-batch-policy", o.batch, "constant"},
	} {
		if f.value != f.usual {
			words = append(words, f.name, f.value)
		}
	}
	for _, s := range append([]string{o.prog}, o.args...) {
		words = append(words, shellWord(s))
	}
	return strings.Join(words, " ")
}

// found starts the others when the founder listens.
func (j *job) found(addr string) {
	j.grouped()
	j.note(addr, "listening; ")
	if s := j.opts.step; s != nil {
		remove, err := s.tell(addr, j.cred.secret)
		if err != nil {
			j.fail("the other tasks of the Slurm step cannot be told where to join: %v", err)
			return
		}
		j.unrecord = append(j.unrecord, remove)
	}
	for i, p := range j.peers {
		if p.state == waiting {
			j.start(i, nil, hostsOf([]string{addr}), "RINGRUN_JOIN="+addr)
		}
	}
	j.fill() // hosts may have been added
}

// grouped takes up that there is a group to join: nobody waits for the founder any
// more.
func (j *job) grouped() {
	j.founded = true
	j.deadline.Stop()
}

func (j *job) record(p *peer, addr string) {
	remove, err := j.recs.put(addr, j.cred.secret)
	if err != nil {
		if !j.founded {
			j.out.note("-join will need the secret by itself, it cannot be recorded: %v", err)
		}
		return
	}
	p.forget = sync.OnceFunc(remove)
	j.unrecord = append(j.unrecord, p.forget)
}
