package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
)

// A guard is a process that outlives its parent for a moment. It is told which
// process groups its parent has started, and when the pipe between them closes,
// whatever the reason, it kills those that are left. So a parent that is killed
// leaves nothing behind, not even grandchildren, which no parent-death signal
// reaches.
//
// It has a session and a name of its own: "killall -9 ringrun" shall not hit it.
type guard struct {
	self string // the program that runs now
	cmd  *exec.Cmd

	mu sync.Mutex
	in io.WriteCloser
}

const guardName = "rr-guard"

func startGuard() (*guard, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find ringrun itself: %w", err)
	}
	g := &guard{self: self, cmd: exec.Command(self, "_guard")}
	g.cmd.Args[0] = guardName
	g.cmd.Dir = "/"
	g.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if g.in, err = g.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := g.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the guard: %w", err)
	}
	return g, nil
}

// start is cmd.Start for a cmd that has a process group of its own. Nothing of
// the program runs before the guard knows of it: what starts is a gatekeeper
// (runGate), which becomes the program when it is told so.
func (g *guard) start(cmd *exec.Cmd) error {
	gate, open, err := os.Pipe()
	if err != nil {
		return err
	}
	defer gate.Close()
	defer open.Close()
	why, failed, err := os.Pipe()
	if err != nil {
		return err
	}
	defer why.Close()
	fd := 3 + len(cmd.ExtraFiles)
	cmd.Args = append([]string{g.self, "_gate", strconv.Itoa(fd), strconv.Itoa(fd + 1), cmd.Path}, cmd.Args[1:]...)
	cmd.Path = g.self
	cmd.ExtraFiles = append(cmd.ExtraFiles, gate, failed)
	err = cmd.Start()
	failed.Close()
	if err != nil {
		return err
	}
	g.watch(cmd.Process.Pid)
	_, _ = open.Write([]byte{1}) // if it is gone, Wait says so
	text, err := io.ReadAll(why) // until the program runs
	if len(text) > 0 {
		err = errors.New(string(text))
	}
	if err != nil {
		_ = cmd.Wait()
		g.release(cmd.Process.Pid)
	}
	return err
}

func (g *guard) watch(pgid int) { g.tell("+%d\n", pgid) }

// release forgets a group that is gone.
func (g *guard) release(pgid int) { g.tell("-%d\n", pgid) }

// tell ignores errors: without a guard, which somebody must have killed, the
// rest goes on as well.
func (g *guard) tell(format string, pgid int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	_, _ = fmt.Fprintf(g.in, format, pgid)
}

// close kills the groups still watched and waits for the guard to end.
func (g *guard) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	_ = g.in.Close()
	_ = g.cmd.Wait()
}

// runGuard is the guard's own side.
func runGuard() error {
	setProcessName(guardName)
	unheard := make(chan os.Signal, 1)
	signal.Notify(unheard, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	groups := map[int]bool{}
	for s := bufio.NewScanner(os.Stdin); s.Scan(); {
		pgid, err := strconv.Atoi(s.Text())
		switch {
		case err != nil || pgid == 0:
			return fmt.Errorf("guard: %q is not a process group", s.Text())
		case pgid > 0:
			groups[pgid] = true
		default:
			delete(groups, -pgid)
		}
	}
	for pgid := range groups {
		_ = syscall.Kill(-pgid, syscall.SIGKILL) // none left: nothing to do
	}
	return nil
}

// runGate becomes the program in args, after two file descriptors: when the gate
// opens, and what is told if it cannot. Without anybody at the gate it ends.
func runGate(args []string) error {
	if len(args) < 3 {
		return fmt.Errorf("gate: %d arguments", len(args))
	}
	fds := make([]int, 2)
	for i := range fds {
		var err error
		if fds[i], err = strconv.Atoi(args[i]); err != nil {
			return fmt.Errorf("gate: %w", err)
		}
		syscall.CloseOnExec(fds[i])
	}
	gate := os.NewFile(uintptr(fds[0]), "gate")
	if _, err := gate.Read(make([]byte, 1)); err != nil {
		return fmt.Errorf("gate: %w", err)
	}
	err := syscall.Exec(args[2], args[2:], os.Environ())
	_, _ = fmt.Fprint(os.NewFile(uintptr(fds[1]), "failed"), &os.PathError{Op: "exec", Path: args[2], Err: err})
	return exitStatus(1)
}
