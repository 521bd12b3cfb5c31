package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/ringrun/ringrun/bench"
)

// TestSelect lets four peers on two hosts choose.
func TestSelect(t *testing.T) {
	out, errs, status := ringbench(t, "select", "-n", "4", "-hosts", "2", "-sizes", "4,256K", "-rounds", "1", "-min-time", "1ms", "-json")
	if status != 0 || errs != "" {
		t.Fatalf("status %d, says %q", status, errs)
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != 2 {
		t.Fatalf("%d lines, want 2:\n%s", len(lines), out)
	}
	for _, line := range lines {
		var r bench.ContestResult
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		for _, name := range []string{"ring", "exchange", "dissemination", "two-level"} {
			if r.US[name] <= 0 {
				t.Errorf("%d bytes: %s took %v us", r.Bytes, name, r.US[name])
			}
		}
		if r.Size != 4 || r.AutoUS <= 0 || r.US[r.Choice] <= 0 {
			t.Errorf("%+v", r)
		}
	}
	out, errs, status = ringbench(t, "select", "-n", "2", "-transport", "tcp", "-sizes", "4", "-rounds", "1", "-min-time", "1ms")
	if status != 0 || errs != "" || !strings.Contains(out, "dissemination") || !strings.Contains(out, "choice") {
		t.Errorf("status %d, says %q, table:\n%s", status, errs, out)
	}
}

func TestAlgorithms(t *testing.T) {
	for _, name := range []string{"ring", "two-level"} {
		out, errs, status := ringbench(t, append([]string{"allreduce", "-n", "4", "-hosts", "2", "-algorithm", name, "-sizes", "1K", "-json"}, quick...)...)
		var r bench.SizeResult
		if err := json.Unmarshal([]byte(out), &r); err != nil || status != 0 || errs != "" || r.Algorithm != name || !r.OK || r.Warmup < 2 || r.MemoryMB <= 0 {
			t.Errorf("%s: status %d, says %q, %+v, %v", name, status, errs, r, err)
		}
	}
	if _, errs, status := ringbench(t, append([]string{"allreduce", "-n", "2", "-transport", "tcp", "-algorithm", "two-level", "-sizes", "1K"}, quick...)...); status != 1 || !strings.Contains(errs, "no such algorithm here") {
		t.Errorf("two levels on one host: status %d, says %q", status, errs)
	}
}

func TestMatrix(t *testing.T) {
	out, errs, status := ringbench(t, "matrix", "-n", "3", "-hosts", "3")
	if status != 0 || errs != "" || strings.Count(out, "\n") != 11 || !strings.Contains(out, "slowest link of the ring") {
		t.Errorf("status %d, says %q:\n%s", status, errs, out)
	}
}

func TestBadPlaces(t *testing.T) {
	for args, want := range map[string]string{
		"allreduce -netns a":               "-netns:",
		"allreduce -netns a=nowhere":       "-netns:",
		"allreduce -hosts -1":              "-hosts:",
		"allreduce -algorithm tree":        "-algorithm:",
		"broadcast -algorithm ring":        "-algorithm:",
		"matrix -n 33":                     "-n:",
		"select -codec half -sizes 4 -n 2": "-codec:",
	} {
		if _, errs, status := ringbench(t, strings.Fields(args)...); status != 1 || !strings.Contains(errs, want) {
			t.Errorf("%s: status %d, says %q, want %q", args, status, errs, want)
		}
	}
}
