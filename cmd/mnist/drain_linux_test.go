package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// ringrun runs the launcher for one of its commands, in the place of a job.
func (j *job) ringrun(args ...string) string {
	j.t.Helper()
	cmd := exec.Command(built.launcher, args...)
	cmd.Env, cmd.Dir = j.cmd.Env, j.cmd.Dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		j.t.Errorf("ringrun %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// drained checks that the workers named have left, that the others end alike, and
// that nobody reduced a step twice.
func (j *job) drained(n int, leavers ...int) {
	j.t.Helper()
	if status := j.wait(); status != 0 {
		j.t.Fatalf("status %d, want 0:\n%s", status, strings.Join(j.seen, "\n"))
	}
	var stayed []summary
	left := 0
	for _, s := range j.summaries() {
		if s.Retries > 0 {
			j.t.Errorf("rank %d reduced %d steps twice, want none", s.Rank, s.Retries)
		}
		if s.Drained {
			left++
			continue
		}
		stayed = append(stayed, s)
	}
	if left != len(leavers) || len(stayed) != n-len(leavers) {
		j.t.Errorf("%d peers left and %d stayed, want %d and %d:\n%s", left, len(stayed), len(leavers), n-len(leavers), strings.Join(j.seen, "\n"))
	}
	for _, s := range stayed {
		if s.Params != stayed[0].Params || s.Steps != stayed[0].Steps {
			j.t.Errorf("rank %d ends with %s after %d steps, another with %s after %d", s.Rank, s.Params, s.Steps, stayed[0].Params, stayed[0].Steps)
		}
	}
	for _, w := range leavers {
		if !slices.ContainsFunc(j.seen, regexp.MustCompile(fmt.Sprintf("worker %d has left after step", w)).MatchString) {
			j.t.Errorf("nothing was said of worker %d:\n%s", w, strings.Join(j.seen, "\n"))
		}
	}
}

// A worker that gets SIGTERM, or that ringrun drain names, leaves between two
// steps, whichever it is.
func TestRealDrain(t *testing.T) {
	for _, victims := range [][]int{{0}, {2}, {1, 3}} {
		t.Run(fmt.Sprint(victims), func(t *testing.T) {
			if len(victims) == 1 {
				needLong(t)
			}
			file := filepath.Join(t.TempDir(), "audit")
			j := startJob(t, "-n", "4", "-audit", file, "PROG", "-steps", "600")
			j.until(`step \d+`)
			for _, v := range victims {
				j.kill(v, syscall.SIGTERM)
			}
			j.drained(4, victims...)
			if out := j.ringrun("audit", file); !strings.Contains(out, "steps 1 to 600") || !strings.Contains(out, "\nok: ") {
				t.Errorf("the audit says\n%s", out)
			}
		})
	}
	t.Run("by name", func(t *testing.T) {
		j := startJob(t, "-n", "3", "PROG", "-steps", "600")
		j.until(`step \d+`)
		if out := j.ringrun("drain", "p0", "p1"); !strings.Contains(out, "2 peers left") {
			t.Errorf("drain says %q", out)
		}
		j.drained(3, 0, 1)
	})
}

// A launcher that gets SIGTERM drains its workers; nobody goes on, and that is no
// failure.
func TestRealDrainOfAll(t *testing.T) {
	j := startJob(t, "-n", "3", "PROG", "-epochs", "1000")
	j.until(`step \d+`)
	if err := j.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	j.drained(3, 0, 1, 2)
}

// The audit is right although the worker that writes it is killed in the middle.
func TestRealAudit(t *testing.T) {
	file := filepath.Join(t.TempDir(), "audit")
	j := startJob(t, "-n", "4", "-audit", file, "PROG", "-steps", "600")
	for _, v := range []int{0, 1} {
		j.until(`step \d+`)
		j.kill(v, syscall.SIGKILL)
		j.until(fmt.Sprintf(`view \d+: \d peers.*p%d`, v))
	}
	j.succeed(2)
	if out := j.ringrun("audit", file); !strings.Contains(out, "steps 1 to 600") || !strings.Contains(out, "\nok: ") {
		t.Errorf("the audit says\n%s", out)
	}
}
