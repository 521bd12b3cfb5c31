package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestTrace(t *testing.T) {
	s := newStage(t)
	l := s.ringrun("-n", "2", trainerProg(t))
	l.until(2, `^\[\d\] step 1$`)
	file := filepath.Join(s.dir, "trace.json")
	s.ringrun("trace", "-for", "1s", "-o", file).ends(0, `^ringrun: .*trace.json: \d+ spans of 2 peers$`)
	l.signal(syscall.SIGTERM)
	l.ends(128 + int(syscall.SIGTERM))
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var events []traceEvent
	if err := json.Unmarshal(b, &events); err != nil {
		t.Fatalf("%v in %.200s", err, b)
	}
	for peer := range 2 {
		var begin, end, sum float64
		seen := map[string]int{}
		for _, e := range events {
			if e.PID != peer || e.Ph != "X" {
				continue
			}
			if begin == 0 {
				begin = e.Ts
			}
			end = max(end, e.Ts+e.Dur)
			sum += e.Dur
			seen[e.Name]++
		}
		if wall := end - begin; wall < 0.5e6 || sum < 0.95*wall || sum > 1.05*wall {
			t.Errorf("peer %d: spans of %v µs in all, over %v µs", peer, sum, wall)
		}
		if seen["computing"] < 20 || seen["reducing"] < 20 {
			t.Errorf("peer %d: spans %v", peer, seen)
		}
	}
}
