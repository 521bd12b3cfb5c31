package bench

import (
	"bytes"
	"context"
	"errors"
	"math"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestKernels measures a little, and checks that the figures fit each other.
func TestKernels(t *testing.T) {
	k := Kernels{Sizes: []int{1 << 10, 4 << 10}, Rounds: 3, MinTime: time.Microsecond}
	results, err := k.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	best := make(map[int]float64)
	for i, r := range results {
		if !(r.GBps > 0 && r.Low <= r.GBps && r.GBps <= r.High && r.Traffic >= r.GBps) {
			t.Errorf("%+v: speeds do not fit", r)
		}
		if r.Bytes != k.Sizes[i%2] || results[i-i%2].Kernel != r.Kernel || results[i-i%2].Level != r.Level {
			t.Errorf("result %d is %+v, which is out of order", i, r)
		}
		if r.Kernel == "copy" && math.Abs(r.OfCopy-1) > 1e-9 {
			t.Errorf("copy is %v of a copy", r.OfCopy)
		}
		best[r.Bytes] = max(best[r.Bytes], r.OfBest)
	}
	if best[1<<10] != 1 || best[4<<10] != 1 {
		t.Errorf("the best are %v of the best", best)
	}
}

func TestKernelsOnly(t *testing.T) {
	k := Kernels{Sizes: []int{1 << 10}, Rounds: 1, MinTime: time.Microsecond, Only: regexp.MustCompile("^scale float32$")}
	results, err := k.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var table bytes.Buffer
	WriteKernels(&table, results)
	lines := strings.Split(strings.TrimSpace(table.String()), "\n")
	if len(lines) != 2+len(results) || len(results) < 2 {
		t.Errorf("%d results, and the table\n%s", len(results), &table)
	}
	for _, l := range lines[3:] {
		if !strings.HasPrefix(l, " scale float32 ") {
			t.Errorf("line %q, asked for scale float32", l)
		}
	}
}

func TestKernelsCanceled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	k := Kernels{Sizes: []int{1 << 10}, Rounds: 1, MinTime: time.Microsecond}
	if _, err := k.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled, but the error is %v", err)
	}
}
