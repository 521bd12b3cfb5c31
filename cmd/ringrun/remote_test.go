package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// withHosts gives the stage an ssh for which every name is a host.
func (s *stage) withHosts() *stage {
	s.t.Helper()
	bin := s.t.TempDir()
	script, err := filepath.Abs("testdata/ssh")
	if err != nil {
		s.t.Fatal(err)
	}
	if err := os.Symlink(script, filepath.Join(bin, "ssh")); err != nil {
		s.t.Fatal(err)
	}
	s.env = append(s.env, "PATH="+bin+":"+os.Getenv("PATH"), "TEST_HOSTS="+s.t.TempDir())
	return s
}

func TestHosts(t *testing.T) {
	s := newStage(t).withHosts()
	args := []string{"-H", "a:2,me@b", workerProg(t), "-env"}
	s.ringrun(args...).ends(0, `^ringrun: copying worker \(\d+\.\d MB\) to a$`, `^ringrun: copying worker .* to me@b$`,
		`^\[0\] HOME=.*/a$`, `^\[1\] HOME=.*/a$`, `^\[2\] HOME=.*/me@b$`, `^\[2\] RINGRUN_ID=p2-`)
	if text := s.ringrun(args...).ends(0); strings.Contains(text, "copying") {
		t.Errorf("what was there is copied again:\n%s", text)
	}
	copies, _ := filepath.Glob(envOf(s, "TEST_HOSTS") + "/a/.cache/ringrun/*/worker")
	if len(copies) != 1 {
		t.Fatalf("copies on host a: %q", copies)
	}
	if err := os.Truncate(copies[0], 1000); err != nil {
		t.Fatal(err)
	}
	text := s.ringrun(args...).ends(0, `^ringrun: copying worker .* to a$`)
	if strings.Count(text, "copying") != 1 {
		t.Errorf("want the damaged copy replaced, nothing else:\n%s", text)
	}
}

// envOf returns the value that counts: the last.
func envOf(s *stage, name string) string {
	for _, v := range slices.Backward(s.env) {
		if value, ok := strings.CutPrefix(v, name+"="); ok {
			return value
		}
	}
	return ""
}

func TestHostOutOfReach(t *testing.T) {
	t.Parallel()
	for hosts, want := range map[string]string{
		"localhost,a,dead": `^ringrun: host dead: ssh: connect to host dead port 22: Connection refused: .*start sshd`,
		"silent,a":         `^ringrun: host silent: no answer within 9s: ssh waits for something`,
	} {
		t.Run(hosts, func(t *testing.T) {
			t.Parallel()
			s := newStage(t).withHosts()
			begin := time.Now()
			s.ringrun("-H", hosts, workerProg(t)).ends(1, want)
			within(t, time.Since(begin), 11*time.Second)
			s.nothingLeft()
		})
	}
}

func TestHostIsLost(t *testing.T) {
	s := newStage(t).withHosts()
	l := s.ringrun("-restart", "never", "-H", "localhost:2,b:1", workerProg(t), "-polite")
	for _, w := range l.until(3, `^\[(\d)\] waiting (\d+) (\d+)`) {
		if w[1] == "2" {
			kill(t, w[3], syscall.SIGKILL)
		}
	}
	l.until(1, `^ringrun: lost the agent on host b, and with it worker 2: `)
	l.until(1, `^ringrun: view 3: 2 peers \(p2 was lost\)$`)
	for _, w := range l.until(3, `^\[(\d)\] waiting (\d+) (\d+)`) {
		if w[1] != "2" {
			kill(t, w[2], syscall.SIGTERM)
		}
	}
	l.ends(0, `^ringrun: done: 2 of 3 workers finished$`)
}

func TestNoOrphansOnHosts(t *testing.T) {
	s := newStage(t).withHosts()
	l := s.ringrun("-H", "a,b", workerProg(t), "-stubborn", "-child")
	l.until(4, `waiting`)
	l.signal(syscall.SIGKILL)
	s.nothingLeft()
}
