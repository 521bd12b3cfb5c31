package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	killGrace = 2 * time.Second // from SIGKILL until agents are killed too
)

type state int

const (
	waiting  state = iota // for the founder
	running               // as far as we know: the agent has been asked to
	finished              // with status 0
	failed                // with another
	killed                // by a signal, or with its host
	dropped               // never started: the job ended before; or came when it was over
	due                   // to be started, in the place of another
	replaced              // by an heir
	missed                // it came when the run had ended, and knows that: status 0
)

// A peer is a worker as the launcher sees it.
type peer struct {
	id         string
	addr       string // where it listens
	conn       *conn
	state      state
	why        string      // its own report of a failure
	drained    bool        // it has left between two steps, as it was asked to
	late       bool        // it was left out, and came back when the run was over
	over       bool        // and was told so
	hearing    atomic.Bool // somebody tells it
	final      bool        // its failure would be that of an heir, too
	leaving    bool        // its host or its slot is taken away
	asked      bool        // somebody wanted it to end
	seen       bool        // it was in a view
	heir       bool        // it was started for the place of another
	told       bool        // that it waits for room in the run
	began      time.Time
	missed     bool // it was said that it has not called elastic.Run
	slot       *slot
	forget     func() // removes the record of its address; nil: there is none
	lastStderr atomic.Pointer[string]
}

// A job is one run of ringrun, from agents that are ready to the exit status.
// One goroutine, that of run, owns all of it; each conn has another that prints
// what workers write and sends the rest to the first.
type job struct {
	opts   options
	cred   credential
	recs   records
	out    *printer
	conns  []*conn // by host
	peers  []*peer // by worker; it grows with peersMu held
	views  viewLog
	events chan connEvent
	quit   chan struct{} // closed when nobody reads events any more

	founded   bool           // others can join
	restored  string         // the checkpoint told of
	door      int            // the worker whose address was told for joining
	broken    bool           // the job failed as a whole, and said why
	sig       syscall.Signal // that ended ringrun
	halting   bool
	gone      bool     // the job goes on without this launcher
	over      bool     // a worker has reported that all is done
	lingers   bool     // it has been said that the workers wait for others
	spreading bool     // workers that still run are told how it has ended
	addrs     []string // of the newest view, or those to join
	addrsOf   uint64   // its epoch
	mourned   int      // dead workers whose places are not decided about
	peersMu   sync.Mutex
	sites     []*site
	arrivals  chan arrival
	lists     chan []host
	reach     func(context.Context, host) (*conn, error) // starts an agent
	life      context.Context                            // ends with the job
	endLife   context.CancelFunc
	dialers   sync.WaitGroup
	readers   sync.WaitGroup
	agenda    *agenda
	blocks    blockLog
	page      string // where browsers see the run

	gathering    bool        // all workers listen, and have so long to come together
	lastFew      uint64      // the epoch of the last view that had too few peers
	pointed      bool        // to ringrun doctor
	lastDiverged string      // likewise
	kills        int         // how often the grace has run out
	deadline     *time.Timer // of the grace, or of -detach
	hold         *time.Timer // of the news of a view
	unrecord     []func()
	audit        auditFile
	trace        *recorder // nil: none
}

type connEvent struct {
	conn *conn
	event
}

func newJob(o options, cred credential, recs records, out *printer) *job {
	life, endLife := context.WithCancel(context.Background())
	return &job{
		opts: o, cred: cred, recs: recs, out: out,
		life: life, endLife: endLife, arrivals: make(chan arrival), lists: make(chan []host),
		addrs: o.join, agenda: newAgenda(),
		views:  viewLog{founding: len(o.join) == 0 && o.n > 1, index: map[string]int{}, finished: map[string]bool{}},
		events: make(chan connEvent),
		quit:   make(chan struct{}),
	}
}

// run starts the workers and returns when none is left.
func (j *job) run(signals <-chan syscall.Signal) error {
	for _, s := range j.open() {
		j.add(s)
	}
	for _, c := range j.conns {
		j.listen(c)
	}
	defer j.readers.Wait()
	defer j.end()

	j.deadline, j.hold = time.NewTimer(time.Hour), time.NewTimer(viewHold)
	j.deadline.Stop()
	j.begin()
	for (j.left() > 0 || j.reviving()) && !j.gone {
		select {
		case e := <-j.events:
			j.handle(e)
			if j.opts.detach && !j.halting {
				j.mayLeave()
			}
		case s := <-signals:
			j.interrupt(s)
		case <-j.deadline.C:
			j.late()
		case <-j.hold.C:
			j.tellViews(true)
		case <-j.agenda.timer.C:
			j.agenda.due()
		case a := <-j.arrivals:
			j.arrived(a)
		case hosts := <-j.lists:
			j.listed(hosts)
		}
	}
	return j.verdict()
}

// listen passes on what an agent says.
func (j *job) listen(c *conn) {
	j.readers.Go(func() { c.read(func(e event) { j.pass(c, e) }) })
	if !c.host.local {
		j.readers.Go(func() { c.beat(j.opts.lease, j.out.note) })
	}
}

// begin starts the founder, or all workers if there is a group to join.
func (j *job) begin() {
	if len(j.opts.join) > 0 {
		j.grouped()
		for i := range j.peers {
			j.startAt(i, j.opts.join)
		}
		return
	}
	c := j.peers[0].conn
	toward := c.toward(j.conns)
	if j.opts.step != nil {
		toward = j.opts.step.others()
	}
	j.start(0, c.reached(j.conns), toward, "RINGRUN_FOUND=1")
}

func (j *job) start(i int, reached, toward []string, how string) {
	p := j.peers[i]
	p.state = running
	dir, err := os.Getwd()
	if err != nil {
		dir = "/"
	}
	s := start{
		Worker: i, Path: p.conn.prog, Args: j.opts.args, Dir: dir,
		Env: append(j.env(p), how), Reached: reached, Toward: toward,
		Output: j.opts.output, Run: j.cred.run(),
	}
	s.Bind, s.Advertise = p.conn.bind()
	if !j.founded {
		s.Port = j.opts.port
	}
	p.conn.send(request{Start: &s})
	j.expect(p)
}

// pass runs in the goroutine of a conn.
func (j *job) pass(c *conn, e event) {
	j.peersMu.Lock()
	peers := j.peers
	j.peersMu.Unlock()
	if e.Worker < 0 || e.Worker >= len(peers) {
		panic(fmt.Sprintf("event of worker %d of %d", e.Worker, len(peers)))
	}
	if e.Kind == evOutput {
		j.out.line(e.Worker, e.Stderr, e.Line)
		if e.Stderr {
			text := string(e.Line)
			peers[e.Worker].lastStderr.Store(&text)
		}
		return
	}
	select {
	case j.events <- connEvent{c, e}:
	case <-j.quit:
	}
}

func (j *job) handle(e connEvent) {
	switch e.Kind {
	case evNote:
		j.out.note("%s", e.Text)
	case evRefused:
		j.peers[e.Worker].state = failed
		if j.peers[e.Worker].heir {
			j.out.note("worker %d does not start on host %s: %s", e.Worker, e.conn.host.name, e.Text)
			j.bequeath(e.Worker, "not started")
			return
		}
		j.fail("worker %d does not start on host %s: %s", e.Worker, e.conn.host.name, e.Text)
	case evReport:
		j.report(e.Worker, e.Line)
	case evExited:
		j.exited(e.Worker, e.event)
	case evLost:
		j.lost(e.conn, e.Text)
	}
}

func (j *job) exited(i int, e event) {
	p := j.peers[i]
	j.keepEnd(p, e)
	if p.forget != nil {
		p.forget()
	}
	how := fmt.Sprintf("with status %d", e.Status)
	switch {
	case e.Signal != 0:
		p.state, how = killed, "killed by "+unix.SignalName(e.Signal)
	case e.Status == 0 && p.over:
		p.state = missed
	case e.Status == 0:
		p.state = finished
		j.views.finished[p.id] = true
	default:
		p.state = failed
	}
	switch {
	case p.state == failed && p.heir && !p.seen && j.over:
		p.state = dropped // it came when there was nobody to join
	case p.state == failed && p.asked && !j.halting:
		p.state = killed
		j.out.note("worker %d, which was to leave, failed: %s", i, p.why)
	case p.state == failed && p.late && !j.halting:
		p.state = killed // the others do not need it
		j.out.note("worker %d was left out and came back too late: %s", i, p.why)
	case j.halting:
	case !j.founded && i == 0:
		j.fail("the founder, worker 0, ended before it could be joined (%s)%s", how, p.lastWords())
	case p.state == killed:
		j.out.note("worker %d was %s", i, how)
	case p.state == failed && p.why != "":
		j.out.note("worker %d failed %s: %s", i, how, p.why)
		j.pointToDoctor(p)
	case p.state == failed:
		j.out.note("worker %d failed %s", i, how)
	}
	if j.heritable(p, e.Signal) {
		j.bequeath(i, how)
	}
	j.dismiss(p.slot.site)
	if p.leaving {
		j.fill() // there is room for another
	}
	j.tellViews(false)
}

// keepEnd keeps here how a worker of another host has ended.
func (j *job) keepEnd(p *peer, e event) {
	if dir := boxesFor(j.cred.run()); e.End != nil && !p.conn.host.local && dir != "" {
		_ = e.End.Write(dir) // the run does not depend on it
	}
}

func (p *peer) lastWords() string {
	if p.why != "" {
		return ": " + p.why
	}
	if s := p.lastStderr.Load(); s != nil {
		return ": " + *s
	}
	return ": it said nothing on stderr; does it call elastic.Run?"
}

// lost accounts for the workers of an agent that is gone. Its guard, or the
// kernel, has killed them.
func (j *job) lost(c *conn, why string) {
	var gone []string
	for i, p := range j.peers {
		if p.conn == c && (p.state == running || p.state == waiting) {
			p.state, p.slot.taken = killed, false
			gone = append(gone, fmt.Sprint(i))
		}
	}
	defer j.vacate(c)
	if len(gone) == 0 || j.kills > 1 {
		return
	}
	j.out.note("lost the agent on host %s, and with it worker %s: %s", c.host.name, strings.Join(gone, ", "), why)
	j.tellViews(false)
	if !j.founded && j.peers[0].state == killed {
		j.fail("the founder is lost")
	}
}

func (j *job) left() int {
	n := 0
	for _, p := range j.peers {
		if p.state == waiting || p.state == running {
			n++
		}
	}
	return n
}

// end lets the agents go and forgets the run.
func (j *job) end() {
	close(j.quit)
	j.endLife()
	j.dialers.Wait()
	var all sync.WaitGroup
	for _, c := range j.conns {
		if !j.gone {
			all.Go(c.close)
		}
	}
	all.Wait()
	for _, remove := range j.unrecord {
		remove()
	}
}
