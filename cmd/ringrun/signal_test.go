package main

import (
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"
)

func kill(t testing.TB, pid string, s syscall.Signal) {
	t.Helper()
	n, err := strconv.Atoi(pid)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(n, s); err != nil {
		t.Fatalf("kill %d: %v", n, err)
	}
}

func TestSignalsArePassedOn(t *testing.T) {
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		l := newStage(t).ringrun("-n", "2", workerProg(t), "-polite")
		l.until(2, `waiting`)
		l.signal(s)
		l.ends(128+int(s), `^\[0\] got `+s.String()+`$`, `^\[1\] got `+s.String()+`$`)
		l.nothingLeft()
	}
}

func TestSecondSignalKills(t *testing.T) {
	l := newStage(t).ringrun("-n", "2", workerProg(t), "-stubborn")
	l.until(2, `waiting`)
	l.signal(syscall.SIGINT)
	l.until(2, `got interrupt`)
	l.signal(syscall.SIGINT)
	l.ends(128+int(syscall.SIGINT), `^ringrun: killing 2 workers$`)
	l.nothingLeft()
}

func TestGraceEnds(t *testing.T) {
	t.Parallel()
	l := newStage(t).ringrun("-n", "2", workerProg(t), "-stubborn")
	l.until(2, `waiting`)
	l.signal(syscall.SIGTERM)
	l.ends(128+int(syscall.SIGTERM), `^ringrun: killing 2 workers$`)
	l.nothingLeft()
}

func TestInterruptBeforeTheFounderListens(t *testing.T) {
	l := newStage(t).ringrun("-n", "2", workerProg(t), "-mute")
	l.until(1, `mute`)
	l.signal(syscall.SIGINT)
	l.ends(128 + int(syscall.SIGINT))
	l.nothingLeft()
}

// A Ctrl-C on a terminal goes to the whole foreground group. The workers must
// hear it once, from the launcher.
func TestTerminalInterrupt(t *testing.T) {
	s := newStage(t)
	l := s.ringrun("-n", "1", workerProg(t), "-polite")
	pids := l.until(1, `waiting (\d+) (\d+)`)[0]
	groups := map[int]bool{}
	for _, p := range []string{pids[1], pids[2], strconv.Itoa(l.cmd.Process.Pid)} {
		n, _ := strconv.Atoi(p)
		g, err := syscall.Getpgid(n)
		if err != nil {
			t.Fatal(err)
		}
		groups[g] = true
	}
	if len(groups) != 3 {
		t.Errorf("worker, agent and launcher share groups: %v", groups)
	}
	l.signal(syscall.SIGINT)
	l.ends(128 + int(syscall.SIGINT))
}

// A child that a worker leaves behind ends with it, and does not hold up the job.
func TestChildEndsWithItsWorker(t *testing.T) {
	l := newStage(t).ringrun("-n", "2", workerProg(t), "-child")
	l.ends(0)
	l.nothingLeft()
}

// Without a reader of its output, "ringrun … | head", a job ends.
func TestBrokenPipe(t *testing.T) {
	s := newStage(t)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", `"$0" -n 2 "$1" -long 100000 -hang 2>&1 | head -n 1`, exe, workerProg(t))
	cmd.Env = s.env
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	s.nothingLeft()
}
