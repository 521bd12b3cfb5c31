package main

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// An agent that does not answer is named at once and given up later; until then
// it may come back. The fake ssh becomes the agent, so that stopping it is a cut.
func TestSilentHost(t *testing.T) {
	t.Parallel()
	s := newStage(t).withHosts()
	l := s.ringrun("-restart", "never", "-lease", "6s", "-H", "a,b", workerProg(t), "-polite")
	agent := ""
	for _, w := range l.until(2, `^\[(\d)\] waiting (\d+) (\d+)`) {
		if w[1] == "1" {
			agent = w[3]
		}
	}
	kill(t, agent, syscall.SIGSTOP)
	l.until(1, `^ringrun: host b does not answer, for \d(\.\d)?s: it is cut off, or overloaded; its workers are given up after 6s$`)
	kill(t, agent, syscall.SIGCONT)
	l.until(1, `^ringrun: host b answers again$`)
	kill(t, agent, syscall.SIGSTOP)
	began := time.Now()
	l.until(1, `^ringrun: lost the agent on host b, and with it worker 1: no answer for 6s: `)
	took := time.Since(began)
	if took < 4*time.Second {
		t.Errorf("host b is given up after %v, want about 6s", took)
	}
	within(t, took, 8*time.Second)
	l.until(1, `^ringrun: view 3: 1 peer \(p1 was lost\)$`)
	l.signal(syscall.SIGINT)
	l.ends(128 + int(syscall.SIGINT))
}

// A launcher that is silent is gone, for all that its agents can know: they end
// their workers.
func TestSilentLauncher(t *testing.T) {
	t.Parallel()
	s := newStage(t).withHosts()
	l := s.ringrun("-lease", "5s", "-H", "a,b", workerProg(t), "-stubborn", "-child")
	l.until(4, `^\[\d\] waiting`)
	l.signal(syscall.SIGSTOP)
	began, late := time.Now(), time.After(patience)
	for {
		left := 0
		for _, cmd := range s.left() {
			if strings.Contains(cmd, "stubborn") && !strings.Contains(cmd, "-lease") {
				left++
			}
		}
		if left == 0 {
			break
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-late:
			t.Fatalf("after %v %d processes are left of a run whose launcher is silent", patience, left)
		}
	}
	within(t, time.Since(began), 8*time.Second)
	l.signal(syscall.SIGCONT)
	l.ends(1, `^ringrun: host a: ringrun: no word from the launcher for 5s: its workers end here$`)
}

// Whoever does not take the output of ringrun for a while does not cut it off.
func TestOutputIsNotTaken(t *testing.T) {
	needLong(t)
	t.Parallel()
	s := newStage(t).withHosts()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", `"$0" -lease 2s -H a "$1" -long 300000 2>&1 | (sleep 4; cat)`, exe, workerProg(t))
	cmd.Env = s.env
	out, err := cmd.CombinedOutput()
	if text := string(out); err != nil || !strings.Contains(text, "no end") || strings.Contains(text, "answer") {
		t.Errorf("%v; ringrun said:\n%.2000s", err, text[max(0, len(text)-2000):])
	}
}
