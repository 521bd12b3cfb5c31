package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/ringrun/ringrun/elastic/chaos"
)

// An actor is one worker of a trial. Its fields from addr on are the troupe's.
type actor struct {
	number int
	cmd    *exec.Cmd
	pid    int           // and its group
	gone   chan struct{} // closed when nothing of it is left

	addr   string
	steps  uint64
	sum    string
	done   bool
	late   bool // it came back when the run had ended, and knows that
	why    string
	struck chaos.Kind // killed or drained by us
	ended  bool
	status string // how
	orphan bool   // something of its group outlived it
	rss    []int  // KiB, at each look

	mu     sync.Mutex // guards frozen, and that signals come in its order
	frozen int        // how many faults stop it
	dead   bool
}

// start starts the next worker, in a namespace of its own if there are any.
func (tr *troupe) start() error {
	i, host := len(tr.actors), "127.0.0.1"
	cmd := exec.Command(tr.exe, tr.t.args...)
	if tr.apart != nil {
		ns, addr, err := tr.apart.add(i)
		if err != nil {
			return err
		}
		host, cmd = addr, exec.Command(tr.apart.ip, append([]string{"netns", "exec", ns, tr.exe}, tr.t.args...)...)
	}
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "RINGRUN_") })
	env := tr.env(i, host)
	c := newCoroner(&tr.hunger, i, env)
	cmd.Env = append(append(cmd.Env, env...), "RINGRUN_BLACKBOX="+c.dir)
	cmd.SysProcAttr = workerAttr()
	a := &actor{number: i, cmd: cmd, gone: make(chan struct{})}
	w := &worker{index: i, cmd: cmd, coroner: c}
	theirs, err := w.plumb()
	if err != nil {
		return err
	}
	err = tr.guard.start(cmd)
	for _, f := range theirs {
		f.Close()
	}
	if err != nil {
		for _, f := range w.pipes() {
			f.Close()
		}
		return err
	}
	a.pid = cmd.Process.Pid
	c.begins(a.pid)
	tr.mu.Lock()
	tr.actors = append(tr.actors, a)
	tr.mu.Unlock()
	go a.run(tr, w)
	return nil
}

// run reads what the worker says, until it and its group are gone.
func (a *actor) run(tr *troupe, w *worker) {
	defer close(a.gone)
	var readers sync.WaitGroup
	readers.Go(func() { eachLine(w.stdout, func(line []byte) { tr.out.line(a.number, false, line) }) })
	readers.Go(func() {
		eachLine(w.stderr, func(line []byte) {
			w.coroner.hear(line)
			tr.out.line(a.number, true, line)
		})
	})
	readers.Go(func() { eachLine(w.report, func(line []byte) { tr.hears(a, line) }) })
	err := reap(a.cmd, func() {
		w.coroner.gone()
		a.mu.Lock()
		a.dead = true
		a.mu.Unlock()
	})
	for _, f := range w.pipes() {
		_ = f.SetReadDeadline(time.Now().Add(killWait))
	}
	readers.Wait()
	for _, f := range w.pipes() {
		f.Close()
	}
	w.coroner.ends(w.exited(err), a.cmd.ProcessState, "")
	orphan := syscall.Kill(-a.pid, syscall.SIGKILL) == nil
	tr.guard.release(a.pid)
	tr.mu.Lock()
	defer tr.mu.Unlock()
	a.ended, a.orphan, a.status = true, orphan, "status 0"
	if err != nil {
		a.status = err.Error()
	}
	tr.tell()
}

// signal reaches the worker and what it has started, unless it has ended.
func (a *actor) signal(s syscall.Signal) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.dead {
		return errGone
	}
	return syscall.Kill(-a.pid, s)
}

func (a *actor) kill() { _ = a.signal(syscall.SIGKILL) } // gone: nothing to do

// strike kills or drains the worker.
func (a *actor) strike(tr *troupe, k chaos.Kind, s syscall.Signal) error {
	tr.mu.Lock()
	a.struck = k
	tr.mu.Unlock()
	return a.signal(s)
}

// freeze stops the worker, until as many calls of thaw.
func (a *actor) freeze() error { return a.hold(1) }
func (a *actor) thaw() error   { return a.hold(-1) }

func (a *actor) stopped() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.frozen > 0
}

func (a *actor) hold(n int) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.frozen += n
	switch {
	case a.dead:
		return errGone
	case n > 0 && a.frozen == 1:
		return syscall.Kill(-a.pid, syscall.SIGSTOP)
	case n < 0 && a.frozen == 0:
		return syscall.Kill(-a.pid, syscall.SIGCONT)
	}
	return nil
}

// slow stops the worker for d, then lets it run for d, and so on, until undo.
func (a *actor) slow(d time.Duration) (undo func() error) {
	quit, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		half := time.NewTicker(d)
		defer half.Stop()
		for stopped := false; ; stopped = !stopped {
			hold := a.freeze
			if stopped {
				hold = a.thaw
			}
			_ = hold() // gone: nothing to do
			select {
			case <-half.C:
			case <-quit:
				if !stopped {
					_ = a.thaw()
				}
				return
			}
		}
	}()
	return func() error {
		close(quit)
		<-ended
		return nil
	}
}

// weigh notes the memory that the worker has.
func (a *actor) weigh() {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", a.pid))
	if err != nil {
		return // gone, or not Linux
	}
	for line := range bytes.Lines(text) {
		if rest, ok := bytes.CutPrefix(line, []byte("VmRSS:")); ok {
			if kib, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(string(rest)), " kB")); err == nil {
				a.rss = append(a.rss, kib)
			}
		}
	}
}
