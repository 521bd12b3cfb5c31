package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// left lists the processes that carry the mark of the stage, by their number:
// launchers, agents, guards, workers and whatever those have started.
func (s *stage) left() map[string]string {
	s.t.Helper()
	found := map[string]string{}
	envs, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		s.t.Fatal(err)
	}
	for _, name := range envs {
		dir := filepath.Dir(name)
		env, err := os.ReadFile(name)
		if err != nil || !bytes.Contains(env, []byte(s.mark)) {
			continue // not ours, or gone by now
		}
		cmdline, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
		found[filepath.Base(dir)] = strings.ReplaceAll(string(cmdline), "\x00", " ")
	}
	return found
}

// nothingLeft gives the processes of the stage 2 s to be gone; without -long more,
// but less than the lease that would end most of them as well.
func (s *stage) nothingLeft() {
	s.t.Helper()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	limit := 2 * time.Second
	if !*long {
		limit = defaultLease * 4 / 5
	}
	late := time.After(limit)
	for {
		left := s.left()
		if len(left) == 0 {
			return
		}
		select {
		case <-look.C:
		case <-late:
			s.t.Errorf("still there after %v: %s", limit, fmt.Sprint(left))
			return
		}
	}
}

// untilRunning waits until a process of the stage has this command line.
func (s *stage) untilRunning(cmdline string) {
	s.t.Helper()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	late := time.After(patience)
	for {
		for _, l := range s.left() {
			if strings.TrimSpace(l) == cmdline {
				return
			}
		}
		select {
		case <-look.C:
		case <-late:
			s.t.Fatalf("nobody runs %q", cmdline)
		}
	}
}

// pidOf waits for the worker whose ID begins so, and returns its number.
func (s *stage) pidOf(id string) string {
	s.t.Helper()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	late := time.After(patience)
	for {
		for pid := range s.left() {
			env, _ := os.ReadFile(filepath.Join("/proc", pid, "environ"))
			if bytes.Contains(env, []byte("\x00RINGRUN_ID="+id)) {
				return pid
			}
		}
		select {
		case <-look.C:
		case <-late:
			s.t.Fatalf("there is no worker %s", id)
		}
	}
}

// one waits for a process of the stage that has this in its command line, and is
// no launcher.
func (s *stage) one(what string) string {
	s.t.Helper()
	var found string
	s.await("a process with "+what, func(left map[string]string) bool {
		for pid, cmd := range left {
			if strings.Contains(cmd, what) && !strings.Contains(cmd, "-H ") && !strings.Contains(cmd, "_gate") && !strings.Contains(cmd, guardName) {
				found = pid
				return true
			}
		}
		return false
	})
	return found
}

// gone waits until these processes have ended.
func (s *stage) gone(pids ...string) {
	s.t.Helper()
	s.await("the end of "+strings.Join(pids, " "), func(left map[string]string) bool {
		return !slices.ContainsFunc(pids, func(pid string) bool { return left[pid] != "" })
	})
}

// below lists the processes that a process of the stage has started, and those
// that these have.
func (s *stage) below(pid string) []string {
	var all []string
	for child := range s.left() {
		status, _ := os.ReadFile(filepath.Join("/proc", child, "status"))
		if bytes.Contains(status, []byte("\nPPid:\t"+pid+"\n")) && !bytes.HasPrefix(status, []byte("Name:\t"+guardName)) {
			all = append(append(all, child), s.below(child)...)
		}
	}
	return all
}

func (s *stage) await(what string, so func(left map[string]string) bool) {
	s.t.Helper()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	late := time.After(patience)
	for {
		left := s.left()
		if so(left) {
			return
		}
		select {
		case <-look.C:
		case <-late:
			s.t.Fatalf("still no %s after %v; there are %v", what, patience, left)
		}
	}
}

func atoi(t testing.TB, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
