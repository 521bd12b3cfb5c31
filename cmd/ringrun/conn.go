package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/ringrun/ringrun/cmd/ringrun/paths"
)

const readyWait = 9 * time.Second // from the start of an agent to its first word

// A conn is the launcher's end of an agent.
type conn struct {
	host  host
	prog  string // the program's path on that host
	guard *guard // of ssh
	cmd   *exec.Cmd
	in    *outbox
	lines *bufio.Reader // of stdout, until the agent is ready
	out   *json.Decoder // from then on
	errs  io.Closer
	notes sync.WaitGroup // reads errs

	// Addresses, for the choice of those that workers bind.
	server string // of the host, as ssh reached it
	client string // of this machine, as the host saw it

	pulse   pulse
	reading atomic.Bool   // read waits for the agent, not for who takes its events
	unread  chan struct{} // closed when read has ended

	at  paths.Address // by which the others reach the host; invalid if nobody has asked
	own string        // an address that the host has itself

	stderrMu sync.Mutex
	stderr   string // last line
}

// dialAgent starts an agent, through ssh if r is not nil, and waits until it is
// ready.
func dialAgent(ctx context.Context, h host, self, prog string, r *remote, g *guard, lease time.Duration, note func(string, ...any)) (*conn, error) {
	c := &conn{host: h, guard: g, unread: make(chan struct{}), cmd: exec.Command(self, "_agent", prog), prog: prog}
	if r != nil {
		c.cmd = h.shell(context.WithoutCancel(ctx), "exec "+quote(self)+" _agent "+quote(self)+" "+quote(prog))
		c.cmd.Args = outlasting(c.cmd.Args, lease)
	}
	inGroup(c.cmd)
	if err := c.start(note); err != nil {
		return nil, fmt.Errorf("host %s: start the agent: %w", h.name, err)
	}
	if err := c.awaitReady(ctx); err != nil {
		c.kill()
		c.wait()
		return nil, fmt.Errorf("host %s: %w", h.name, err)
	}
	return c, nil
}

func (c *conn) start(note func(string, ...any)) error {
	stdin, err := c.cmd.StdinPipe()
	if err != nil {
		return err
	}
	stdout, err := c.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	stderr, err := c.cmd.StderrPipe()
	if err != nil {
		return err
	}
	c.errs = stderr
	c.lines = bufio.NewReaderSize(hearing{stdout, c.pulse.heard}, 64<<10)
	c.out = json.NewDecoder(c.lines)
	begin := c.cmd.Start // the agent has a guard of its own, ssh has not
	if !c.host.local {
		begin = func() error { return c.guard.start(c.cmd) }
	}
	if err := begin(); err != nil {
		return err
	}
	c.in = newOutbox(stdin)
	c.notes.Go(func() {
		eachLine(stderr, func(line []byte) {
			text := strings.TrimSpace(string(line))
			c.stderrMu.Lock()
			c.stderr = text
			c.stderrMu.Unlock()
			note("host %s: %s", c.host.name, text)
		})
	})
	return nil
}

func (c *conn) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, readyWait, fmt.Errorf("its agent is not ready within %v", readyWait))
	defer cancel()
	stop := context.AfterFunc(ctx, c.kill)
	defer stop()
	var e event
	for e.Kind != evReady {
		line, err := c.lines.ReadBytes('\n')
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			return c.startError(err)
		}
		if json.Unmarshal(line, &e) != nil {
			e = event{} // a login shell has a word to say
		}
	}
	if f := strings.Fields(e.SSH); len(f) == 4 {
		c.client, c.server = f[0], f[2]
	}
	return nil
}

// lastWords waits for what the agent or ssh has to say in the end.
func (c *conn) lastWords(err error) string {
	late := time.AfterFunc(killWait, func() { c.errs.Close() }) // a helper of ssh may hold it open
	defer late.Stop()
	c.notes.Wait()
	c.stderrMu.Lock()
	defer c.stderrMu.Unlock()
	if c.stderr != "" {
		return c.stderr
	}
	if err == nil || errors.Is(err, io.EOF) || errors.Is(err, os.ErrClosed) {
		return "it ended"
	}
	return err.Error()
}

// read passes on events until the agent is gone; the last is evLost.
func (c *conn) read(f func(event)) {
	defer close(c.unread)
	for {
		var e event
		c.reading.Store(true)
		err := c.out.Decode(&e)
		c.reading.Store(false)
		switch {
		case err != nil:
			f(event{Kind: evLost, Text: c.lastWords(err)})
			return
		case e.Kind != evAlive:
			f(e)
		}
	}
}

// send does not wait, and ignores errors: when the agent is gone, read says so.
func (c *conn) send(r request) {
	line, err := json.Marshal(r)
	if err != nil {
		panic(err) // strings and numbers
	}
	c.in.put(append(line, '\n'))
}

// close lets the agent end, with whatever it still runs, and waits for that.
func (c *conn) close() {
	c.in.close()
	late := time.AfterFunc(2*orphanGrace+killWait, c.kill)
	defer late.Stop()
	c.wait()
}

// kill ends the agent, or ssh, at once. The agent's guard kills the workers.
func (c *conn) kill() { _ = syscall.Kill(-c.cmd.Process.Pid, syscall.SIGKILL) }

func (c *conn) wait() {
	_ = c.cmd.Wait() // closes the pipes
	c.in.close()
	c.notes.Wait()
	if !c.host.local {
		c.guard.release(c.cmd.Process.Pid)
	}
}

// reached are the addresses at which other hosts reach this one.
func (c *conn) reached(all []*conn) []string {
	if !c.host.local {
		return []string{c.server}
	}
	var addrs []string
	for _, other := range all {
		if !other.host.local {
			addrs = append(addrs, other.client)
		}
	}
	if !c.host.loopback() {
		addrs = append(addrs, c.host.address())
	}
	return addrs
}

// toward are addresses of the other hosts.
func (c *conn) toward(all []*conn) []string {
	var addrs []string
	for _, other := range all {
		switch {
		case other == c:
		case other.server != "" && !net.ParseIP(other.server).IsLoopback():
			addrs = append(addrs, other.server)
		case !other.host.local:
			addrs = append(addrs, other.host.address())
		}
	}
	return addrs
}
