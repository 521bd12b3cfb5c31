package bench

import (
	"context"
	"testing"
	"time"

	"github.com/ringrun/ringrun/allreduce"
)

// TestContest times what the ring allows, and says what was chosen.
func TestContest(t *testing.T) {
	for size, want := range map[int]int{1: 0, 2: 2, 4: 2} {
		var got []ContestResult
		onRing(t, size, "raw", func(ctx context.Context, c *allreduce.Comm) error {
			job := Job{Contest: &Contest{Transport: "memory", Sizes: []int{0, 4, 64 << 10}, Rounds: 2, MinTime: time.Millisecond}}
			return job.Run(ctx, c, func(r Result) { got = append(got, *r.Contest) }, func(string) {})
		})
		if len(got) != 3 {
			t.Fatalf("%d results of %d peers, want 3", len(got), size)
		}
		for _, r := range got {
			if r.Size != size || len(r.US) != want || r.AutoUS <= 0 {
				t.Errorf("%+v", r)
			}
			if size > 1 && (r.US[r.Best] <= 0 || !near(r.Ratio, r.US[r.Choice]/r.US[r.Best]) || r.Ratio < 1) {
				t.Errorf("%d peers, %d bytes: choice %s, best %s, ratio %v of %v", size, r.Bytes, r.Choice, r.Best, r.Ratio, r.US)
			}
		}
	}
}

func TestContestRefusesHalfElements(t *testing.T) {
	if err := (Contest{Sizes: []int{6}}).Run(t.Context(), nil, nil, nil); err == nil {
		t.Error("6 bytes of float32 are no error")
	}
}

func TestKilobytes(t *testing.T) {
	const rollup = "55a3-7ffd ---p 0 00:00 0 [rollup]\nRss:  1692 kB\nPss:   202 kB\nPss_Dirty: 116 kB\n"
	for text, want := range map[string]float64{rollup: 202, "": 0, "Pss:": 0, "Pss: x kB\n": 0} {
		if got := kilobytes(text, "Pss:"); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}
