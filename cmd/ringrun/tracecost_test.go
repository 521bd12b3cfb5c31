package main

import (
	"context"
	"flag"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ringrun/ringrun/membership"
)

var (
	costPairs  = flag.Int("cost.pairs", 30, "how many pairs of times TestTracingCost compares")
	costWindow = flag.Duration("cost.window", 500*time.Millisecond, "how long each of them is")
)

// What tracing costs a step: one run, in which pairs of short times, one with and one
// without a recorder, follow each other, in turns this one first and that one. Pairs
// without any recorder tell what such a difference means here.
//
//	go test ./cmd/ringrun -run TestTracingCost -long -v
func TestTracingCost(t *testing.T) {
	needLong(t)
	prog := filepath.Join(t.TempDir(), "mnist")
	if out, err := exec.Command("go", "build", "-o", prog, "../mnist").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	s := newStage(t)
	secret := strings.Repeat("5e", 32)
	s.env = append(s.env, "RINGRUN_SECRET="+secret)
	l := s.ringrun("-n", "2", prog, "-epochs", "1000", "-batch", "64")
	addr := l.until(1, `-join (\S+)`)[0][1]
	l.until(1, `step \d+`)
	a := askerOf(t, secret, addr)
	same, _ := costOf(t, a, false)
	cost, sigma := costOf(t, a, true)
	t.Logf("a step takes %+.2f%% longer while it is traced, with a standard error of %.2f%%; without, %+.2f%%", 100*cost, 100*sigma, 100*same)
	if cost-2*sigma > 0.02 {
		t.Error("want less than 2%")
	}
	l.signal(syscall.SIGTERM)
	l.ends(0) // it drains its peers
}

func askerOf(t *testing.T, secret, addr string) *asker {
	t.Helper()
	cred, err := findCredential(options{join: []string{addr}}, secret, records{})
	if err != nil {
		t.Fatal(err)
	}
	client, err := membership.ControlClient(cred.secret, cred.run())
	if err != nil {
		t.Fatal(err)
	}
	return &asker{cred: cred, client: client, addr: addr}
}

// costOf compares, and returns the median of how much longer a step takes in the second
// time of a pair, and its standard error.
func costOf(t *testing.T, a *asker, trace bool) (median, sigma float64) {
	t.Helper()
	var all []float64
	for i := range *costPairs {
		var pace [2]float64
		for k := range 2 {
			at := (i + k) % 2
			pace[at] = paceOf(t, a, trace && at == 1)
		}
		all = append(all, pace[1]/pace[0]-1)
	}
	slices.Sort(all)
	n := len(all)
	median = all[n/2]
	low, high := all[n/4], all[3*n/4]
	t.Logf("%d pairs, traced %v: median %+.2f%%, quartiles %+.2f%% and %+.2f%%", n, trace, 100*median, 100*low, 100*high)
	return median, 1.253 * (high - low) / 1.349 / math.Sqrt(float64(n)) // of a normal distribution
}

// paceOf returns how many seconds a step takes, for a while.
func paceOf(t *testing.T, a *asker, trace bool) float64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	first, err := a.status(ctx, a.addr)
	if err != nil {
		t.Fatal(err)
	}
	if trace {
		nowhere, err := os.Open(os.DevNull) // for what the recorder says at its end
		if err != nil {
			t.Fatal(err)
		}
		defer nowhere.Close()
		r, err := a.record(ctx, filepath.Join(t.TempDir(), "trace.json"), limits{megabytes: 256})
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range first.Peers {
			r.add(p)
		}
		defer r.close(newPrinter(nowhere, nowhere))
		for !r.hears(len(first.Peers)) {
			if ctx.Err() != nil {
				t.Fatal("not all peers are recorded")
			}
			time.Sleep(time.Millisecond)
		}
	}
	began := time.Now()
	from, err := a.status(ctx, a.addr)
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(*costWindow)
	took := time.Since(began)
	to, err := a.status(ctx, a.addr)
	if err != nil {
		t.Fatal(err)
	}
	return took.Seconds() / float64(to.Steps-from.Steps)
}

// hears reports whether the spans of so many peers are coming.
func (r *recorder) hears(peers int) bool {
	r.t.mu.Lock()
	defer r.t.mu.Unlock()
	return len(r.t.peers) == peers
}
