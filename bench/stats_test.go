package bench

import (
	"testing"
	"time"
)

func TestSpread(t *testing.T) {
	got := spreadOf([][]time.Duration{{5, 1, 3}, {9, 7, 8}, {2, 4, 6}})
	want := spread{Median: 5, Min: 1, P99: 9, Mean: 5, Low: 3, High: 8}
	if got != want {
		t.Errorf("spreadOf = %+v, want %+v", got, want)
	}
	if got := spreadOf(nil); got != (spread{}) {
		t.Errorf("spreadOf(nothing) = %+v", got)
	}
}

func TestCovered(t *testing.T) {
	for _, tt := range []struct {
		spans []span
		want  time.Duration
	}{
		{nil, 0},
		{[]span{{2, 5}}, 3},
		{[]span{{10, 12}, {2, 5}}, 5},
		{[]span{{2, 8}, {3, 4}, {7, 9}}, 7},
		{[]span{{0, 4}, {4, 6}, {9, 9}}, 6},
	} {
		if got := covered(tt.spans); got != tt.want {
			t.Errorf("covered(%v) = %d, want %d", tt.spans, got, tt.want)
		}
	}
}

func TestParseStat(t *testing.T) {
	busy, steal := parseStat([]byte("cpu  100 200 300 99999 88888 400 500 600 7 8\ncpu0 1 2 3\n"))
	if busy != 15 || steal != 6 {
		t.Errorf("busy %v s, steal %v s; want 15 and 6", busy, steal)
	}
	for _, bad := range []string{"", "cpu 1 2", "intr 1 2 3 4 5 6 7 8 9", "cpu a b c d e f g h"} {
		if busy, steal := parseStat([]byte(bad)); busy != 0 || steal != 0 {
			t.Errorf("parseStat(%q) = %v, %v; want zeros", bad, busy, steal)
		}
	}
}

func TestProcessSecondsGrow(t *testing.T) {
	before := processSeconds()
	for deadline := time.Now().Add(time.Minute); processSeconds() == before; {
		if time.Now().After(deadline) {
			t.Fatal("a minute of work cost no processor time")
		}
	}
}
