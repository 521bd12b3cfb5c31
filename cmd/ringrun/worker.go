package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// maxLine is where a line of output that does not end is broken.
const maxLine = 1 << 20

// A worker is one running PROG, as its agent sees it.
type worker struct {
	index          int
	pid            int // of the process and of its group
	cmd            *exec.Cmd
	stdout, stderr *os.File
	report         *os.File
	log            io.WriteCloser // keeps what it writes; may be nil
	coroner        *coroner
	asked          string // how and why it was asked to end; guarded by the liveMu of its agent
}

func startWorker(a *agent, s start) (*worker, error) {
	if err := enoughFiles(s.Env); err != nil {
		return nil, err
	}
	w := &worker{index: s.Worker, coroner: newCoroner(&a.hunger, s.Worker, s.Env)}
	if s.Bind == "" {
		s.Bind = bindAddress(s.Reached, s.Toward)
	}
	bind := net.JoinHostPort(s.Bind, strconv.Itoa(s.Port))
	w.cmd = exec.Command(s.Path, s.Args...)
	w.cmd.Dir = a.startIn(s.Dir)
	w.cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "RINGRUN_") })
	w.cmd.Env = append(w.cmd.Env, s.Env...)
	w.cmd.Env = append(w.cmd.Env, "RINGRUN_BIND="+bind, "RINGRUN_REPORT=3", "PWD="+w.cmd.Dir, "RINGRUN_BLACKBOX="+w.coroner.dir)
	if s.Advertise != "" {
		w.cmd.Env = append(w.cmd.Env, "RINGRUN_ADVERTISE="+s.Advertise)
	}
	w.cmd.SysProcAttr = workerAttr()
	if s.Output != "" {
		log, name, err := openLog(a.inFolder(s), s.Run, s.Worker)
		if err != nil {
			return nil, err
		}
		w.log = log
		w.cmd.Env = append(w.cmd.Env, "RINGRUN_OUTPUT="+name)
	}

	theirs, err := w.plumb()
	if err != nil {
		return nil, err
	}
	defer func() {
		for _, f := range theirs {
			f.Close()
		}
	}()
	if err := a.guard.start(w.cmd); err != nil {
		for _, f := range w.pipes() {
			f.Close()
		}
		return nil, whyNoStart(s.Path, err)
	}
	w.pid = w.cmd.Process.Pid
	w.coroner.begins(w.pid)
	a.add(w)
	return w, nil
}

// plumb makes the pipes through which the worker speaks, and returns its ends.
func (w *worker) plumb() (theirs []*os.File, err error) {
	for _, ours := range []**os.File{&w.stdout, &w.stderr, &w.report} {
		r, end, err := os.Pipe()
		if err != nil {
			for _, f := range append(theirs, w.pipes()...) {
				f.Close() // nil: nothing to do
			}
			return nil, fmt.Errorf("pipe for a worker: %w", err)
		}
		*ours, theirs = r, append(theirs, end)
	}
	w.cmd.Stdout, w.cmd.Stderr, w.cmd.ExtraFiles = theirs[0], theirs[1], theirs[2:]
	return theirs, nil
}

func (w *worker) pipes() []*os.File { return []*os.File{w.stdout, w.stderr, w.report} }

// run passes on what the worker says until it and its group are gone.
func (w *worker) run(a *agent) {
	var readers sync.WaitGroup
	readers.Go(func() {
		eachLine(w.stdout, func(line []byte) { w.write(a, line, false) })
	})
	readers.Go(func() {
		eachLine(w.stderr, func(line []byte) { w.write(a, line, true) })
	})
	readers.Go(func() {
		eachLine(w.report, func(line []byte) { a.send(event{Kind: evReport, Worker: w.index, Line: line}) })
	})
	asked := ""
	err := reap(w.cmd, func() {
		w.coroner.gone()
		asked = a.asked(w)
		_ = syscall.Kill(-w.pid, syscall.SIGKILL) // what it started ends with it
		a.remove(w)
	})
	for _, f := range w.pipes() { // a process that left the group may hold them open
		_ = f.SetReadDeadline(time.Now().Add(killWait))
	}
	readers.Wait()
	for _, f := range w.pipes() {
		f.Close()
	}
	if w.log != nil {
		w.log.Close()
	}
	e := w.exited(err)
	e.End = w.coroner.ends(e, w.cmd.ProcessState, asked)
	a.send(e)
}

// write passes on one line of output. A disk that is full does not stop the run.
func (w *worker) write(a *agent, line []byte, stderr bool) {
	if stderr {
		w.coroner.hear(line)
	}
	a.send(event{Kind: evOutput, Worker: w.index, Stderr: stderr, Line: line})
	if w.log != nil {
		_, _ = w.log.Write(append(line[:len(line):len(line)], '\n'))
	}
}

func (w *worker) exited(err error) event {
	e := event{Kind: evExited, Worker: w.index}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		e.Status, e.Text = 1, err.Error()
		return e
	}
	if ws, ok := w.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		e.Signal = ws.Signal()
		return e
	}
	e.Status = w.cmd.ProcessState.ExitCode()
	return e
}

// eachLine calls f with every line, without its end, until reading ends. The
// last line may have no end; one longer than maxLine comes in pieces. f must not
// keep the slice.
func eachLine(r io.Reader, f func(line []byte)) {
	br := bufio.NewReaderSize(r, 64<<10)
	var long []byte // the line so far, if it did not fit br's buffer
	for {
		part, err := br.ReadSlice('\n')
		line := part
		if len(long) > 0 || err != nil {
			long = append(long, part...)
			line = long
		}
		ended := err == nil
		if ended {
			line = line[:len(line)-1]
		}
		if ended || len(line) >= maxLine || len(line) > 0 && err != bufio.ErrBufferFull {
			f(line)
			long = long[:0]
		}
		if err != nil && err != bufio.ErrBufferFull {
			return
		}
	}
}
