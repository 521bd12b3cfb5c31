package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Everything is killed: the launcher, its agents and all peers. The same command
// goes on from the last checkpoint, and after 50 steps the parameters have the bits
// that they have in a run that nobody disturbed and that wrote no checkpoints.
func TestRealRestart(t *testing.T) {
	for _, n := range []int{2, 3} {
		t.Run(fmt.Sprintf("peers=%d", n), func(t *testing.T) {
			dir, peers := filepath.Join(t.TempDir(), "made", "by", "it"), strconv.Itoa(n)
			j := startJob(t, "-n", peers, "-checkpoint", dir, "-checkpoint-every", "10", "PROG", "-steps", "100000")
			awaitCheckpoint(t, dir, 40)
			j.killAll()
			from := newestCheckpoint(t, dir)
			to := strconv.FormatUint(from+50, 10)

			again := startJob(t, "-n", peers, "-checkpoint", dir, "-checkpoint-every", "10", "PROG", "-steps", to)
			restarted := again.succeed(n)
			undisturbed := startJob(t, "-n", peers, "PROG", "-steps", to).succeed(n)
			if restarted[0].Params != undisturbed[0].Params {
				t.Errorf("from step %d to %s: parameters %s, undisturbed %s", from, to, restarted[0].Params, undisturbed[0].Params)
			}
			if text := strings.Join(again.seen, "\n"); strings.Count(text, fmt.Sprintf("has a checkpoint of step %d: ", from)) != 1 {
				t.Errorf("not told once that it goes on from step %d:\n%s", from, text)
			}
			if rows := restarted[0].Samples; rows > 50*128 {
				t.Errorf("%d samples were computed, want at most 50 steps of 128", rows)
			}
		})
	}
}

// killAll kills the launcher and all that it has started, and waits for their end.
func (j *job) killAll() {
	j.t.Helper()
	for range 2 { // whoever was being started meanwhile, too
		for _, pid := range append(j.processes(""), j.cmd.Process.Pid) {
			_ = syscall.Kill(pid, syscall.SIGKILL) // it may be gone by itself
		}
	}
	j.wait()
	for len(j.processes("")) > 0 {
		select {
		case <-j.t.Context().Done():
			j.t.Fatal("not all processes ended")
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// awaitCheckpoint waits for a checkpoint of so many steps.
func awaitCheckpoint(t *testing.T, dir string, steps uint64) {
	t.Helper()
	deadline := time.After(hangTime)
	for newestCheckpoint(t, dir) < steps {
		select {
		case <-deadline:
			t.Fatalf("no checkpoint of %d steps after %v", steps, hangTime)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

var checkpointName = regexp.MustCompile(`^[0-9a-f]{8}-0*([1-9][0-9]*)\.ckpt$`)

func newestCheckpoint(t *testing.T, dir string) uint64 {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	steps := []uint64{0}
	for _, e := range entries {
		if m := checkpointName.FindStringSubmatch(e.Name()); m != nil {
			n, err := strconv.ParseUint(m[1], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			steps = append(steps, n)
		}
	}
	return slices.Max(steps)
}
