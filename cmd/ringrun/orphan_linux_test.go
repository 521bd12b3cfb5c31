package main

import (
	"os"
	"regexp"
	"syscall"
	"testing"
)

// The promise that matters most: whoever is killed, nothing is left. The
// workers are stubborn and have children.
func TestNoOrphans(t *testing.T) {
	for _, who := range []string{"launcher", "agent", "launcher and agent", "guard"} {
		t.Run(who, func(t *testing.T) {
			s := newStage(t)
			l := s.ringrun("-n", "2", workerProg(t), "-stubborn", "-child")
			agent := agentOf(t, l)
			switch who {
			case "launcher":
				l.signal(syscall.SIGKILL)
			case "agent":
				kill(t, agent, syscall.SIGKILL)
				l.ends(1, `^ringrun: lost the agent on host localhost, and with it worker 0, 1: `)
			case "launcher and agent":
				l.signal(syscall.SIGKILL)
				kill(t, agent, syscall.SIGKILL)
			case "guard":
				killGuards(t, s)
				l.signal(syscall.SIGKILL)
			}
			s.nothingLeft()
		})
	}
}

// The kernel kills workers whose agent is gone, guard or no guard.
func TestNoOrphansWithoutGuard(t *testing.T) {
	s := newStage(t)
	l := s.ringrun("-n", "2", workerProg(t), "-stubborn")
	agent := l.until(2, `waiting (\d+) (\d+)`)[0][2]
	killGuards(t, s)
	kill(t, agent, syscall.SIGKILL)
	l.ends(1, `^ringrun: lost the agent on host localhost, and with it worker 0, 1: `)
	s.nothingLeft()
}

func killGuards(t testing.TB, s *stage) {
	t.Helper()
	killed := 0
	for pid, cmdline := range s.left() {
		if regexp.MustCompile(`^` + guardName).MatchString(cmdline) {
			kill(t, pid, syscall.SIGKILL)
			killed++
		}
	}
	if killed != 2 {
		t.Fatalf("%d guards, want one of the launcher and one of the agent", killed)
	}
}

// agentOf is the parent of the workers, which are parents themselves.
func agentOf(t testing.TB, l *launcher) string {
	t.Helper()
	parents := map[string]bool{}
	var own [][]string
	for _, p := range l.until(4, `waiting (\d+) (\d+)`) {
		parents[p[2]] = true
		own = append(own, p)
	}
	for _, p := range own {
		if parents[p[1]] {
			return p[2]
		}
	}
	t.Fatalf("no agent among %q", own)
	return ""
}

func TestKilledWhileBuilding(t *testing.T) {
	s := newStage(t)
	bin := t.TempDir()
	if err := os.WriteFile(bin+"/go", []byte("#!/bin/sh\necho compiling; sleep 1000 & wait\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	s.env = append(s.env, "PATH="+bin+":"+os.Getenv("PATH"))
	l := s.ringrun("./testdata/worker")
	l.until(1, `compiling`)
	l.signal(syscall.SIGKILL)
	s.nothingLeft()
	l = s.ringrun("./testdata/worker")
	l.until(1, `compiling`)
	l.signal(syscall.SIGINT)
	l.ends(128 + int(syscall.SIGINT))
}

func TestInterruptWhileReaching(t *testing.T) {
	s := newStage(t).withHosts()
	l := s.ringrun("-H", "silent", workerProg(t))
	s.untilRunning("sleep 1000")
	l.signal(syscall.SIGINT)
	l.ends(128 + int(syscall.SIGINT))
	s.nothingLeft()
}
