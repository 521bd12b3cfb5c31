package bench

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"time"
)

func TestCompare(t *testing.T) {
	line := func(peer string, bytes int, us float64) SizeResult {
		return SizeResult{Peer: peer, Size: 2, Bytes: bytes, MedianUS: us}
	}
	got := Compare("ours", [][]SizeResult{
		{line("ours", 4, 10), line("ours", 64, 5), line("a", 4, 20), line("b", 4, 15)},
		{line("ours", 4, 30), line("ours", 64, 5), line("a", 4, 18), line("b", 4, 90)},
		{line("ours", 4, 20), line("ours", 64, 5), line("a", 4, 22), line("b", 4, 45)},
	})
	if len(got) != 1 {
		t.Fatalf("%d sizes, want 1: nobody else has measured 64 bytes", len(got))
	}
	c := got[0]
	if c.Best != "a" || c.OursUS != 20 || c.BestUS != 20 || c.Ratio != 1 || c.Turns != 3 {
		t.Errorf("got %+v, want 20 us against a's 20 in 3 turns", c)
	}
	if math.Abs(c.Low-0.6) > 1e-9 || math.Abs(c.High-2) > 1e-9 {
		t.Errorf("ratios %v to %v, want 0.6 to 2", c.Low, c.High)
	}
}

// A rival that fails in one turn is compared with ours of the others.
func TestCompareTurns(t *testing.T) {
	line := func(peer string, us float64) SizeResult {
		return SizeResult{Peer: peer, Size: 2, Bytes: 4, MedianUS: us}
	}
	got := Compare("ours", [][]SizeResult{
		{line("ours", 10)},
		{line("ours", 40), line("a", 80)},
		{line("ours", 20), line("a", 40)},
	})
	if len(got) != 1 || got[0].Low != 2 || got[0].High != 2 || got[0].Ratio != 3 || got[0].Turns != 3 {
		t.Errorf("got %+v, want a to take twice as long in both of its turns", got)
	}
}

// The rivals that this machine has are built and give results that are right.
func TestRivals(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and starts programs")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	s := Sweep{Sizes: []int{4, 4096}, Rounds: 1, MinTime: time.Millisecond, MaxForeign: 100}
	dir := t.TempDir()
	for _, r := range Rivals() {
		if r.Name != "gloo-ring" {
			continue // Open MPI spins, which takes minutes on a machine that is busy
		}
		t.Run(r.Name, func(t *testing.T) {
			program, err := r.Build(ctx, dir)
			if errors.Is(err, ErrNotInstalled) {
				t.Skip(err)
			}
			if err != nil {
				t.Fatal(err)
			}
			lines, err := r.Run(ctx, program, 2, s)
			if err != nil || len(lines) != 2 {
				t.Fatalf("%d results, %v; want 2", len(lines), err)
			}
			for _, l := range lines {
				if l.Peer != r.Name || !l.OK || l.Size != 2 || l.MedianUS <= 0 || l.Count != l.Bytes/4 || l.Collective != "allreduce" || l.Type != "float32" || l.Transport != "tcp" {
					t.Errorf("%+v, want a right result of %s", l, r.Name)
				}
				if alg := float64(l.Bytes) / l.MedianUS / 1e3; !near(l.AlgGBps, alg) {
					t.Errorf("%s, %d bytes: algbw %v, want %v", r.Name, l.Bytes, l.AlgGBps, alg)
				}
			}
		})
	}
}

func TestRivalThatIsMissing(t *testing.T) {
	r := Rival{Name: "nobody", compiler: []string{"no-such-compiler"}}
	if _, err := r.Build(t.Context(), t.TempDir()); !errors.Is(err, ErrNotInstalled) || !strings.Contains(err.Error(), "no-such-compiler") {
		t.Errorf("got %v, want ErrNotInstalled that names the compiler", err)
	}
}
