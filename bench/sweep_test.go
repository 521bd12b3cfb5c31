package bench

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/ringrun/ringrun/allreduce"
)

// quick is a sweep that is over soon, however busy the machine is.
func quick(codec string, sizes ...int) Sweep {
	return Sweep{Transport: "memory", Codec: codec, Sizes: sizes, Rounds: 2, MinTime: time.Millisecond, MaxForeign: 100}
}

// sweepOn returns what rank 0 reports.
func sweepOn(t *testing.T, size int, s Sweep, wrap func(*allreduce.Comm) Comm) (results []SizeResult) {
	t.Helper()
	onRing(t, size, s.Codec, func(ctx context.Context, c *allreduce.Comm) error {
		return s.Run(ctx, wrap(c), func(r Result) {
			if c.Rank() != 0 {
				t.Errorf("rank %d reports", c.Rank())
			}
			results = append(results, *r.Size)
		}, func(string) {})
	})
	return results
}

func sound(c *allreduce.Comm) Comm { return c }

func TestSweepAcceptsEveryRightResult(t *testing.T) {
	for _, typ := range allreduce.Types() {
		for _, op := range []allreduce.Op{allreduce.Sum, allreduce.Mean, allreduce.Min, allreduce.Max, allreduce.Product, allreduce.And, allreduce.Or} {
			for _, codec := range []string{"raw", "half", "zstd"} {
				if op > allreduce.Product && !integral(typ) || codec != "raw" && typ > allreduce.Int64 {
					continue
				}
				s := quick(codec, 0, 8, 8*997)
				s.Type, s.Op, s.Rounds = typ, op, 1
				for _, r := range sweepOn(t, 3, s, sound) {
					if r.Errors != 0 || !r.OK {
						t.Errorf("%v %v %s, %d bytes: %d errors", typ, op, codec, r.Bytes, r.Errors)
					}
				}
			}
		}
	}
}

func TestSweepCountsWrongElements(t *testing.T) {
	spoilt := func(c *allreduce.Comm) Comm {
		if c.Rank() == 1 {
			return faulty{c, 5}
		}
		return c
	}
	for _, typ := range []allreduce.Type{allreduce.Float32, allreduce.Float64, allreduce.Int32, allreduce.Int64} {
		s := quick("raw", 16, 4096)
		s.Type = typ
		got := sweepOn(t, 3, s, spoilt)
		if len(got) != 2 || got[0].Errors != 0 || !got[0].OK || got[1].Errors != 1 || got[1].OK {
			t.Errorf("%v: %+v; want no error in the short vector, one in the other", typ, got)
		}
	}
}

func TestSweepMeasures(t *testing.T) {
	got := sweepOn(t, 4, quick("raw", 4, 1<<20), sound)
	if len(got) != 2 {
		t.Fatalf("%d results, want 2", len(got))
	}
	r := got[1]
	if r.Peer != "ringrun-memory" || r.Size != 4 || r.Bytes != 1<<20 || r.Count != 1<<18 || r.Rounds != 2 || r.Iters < 3 {
		t.Errorf("%+v", r)
	}
	if !(0 < r.MinUS && r.MinUS <= r.MedianUS && r.MedianUS <= r.P99US) {
		t.Errorf("min %v, median %v, p99 %v us", r.MinUS, r.MedianUS, r.P99US)
	}
	if alg := float64(r.Bytes) / r.MedianUS / 1e3; !near(r.AlgGBps, alg) || !near(r.BusGBps, 1.5*alg) {
		t.Errorf("algbw %v, busbw %v; want %v and 1.5 times it", r.AlgGBps, r.BusGBps, alg)
	}
	if !(r.BusLow <= r.BusHigh && 0 < r.CPUPerGB) {
		t.Errorf("busbw from %v to %v, %v CPU seconds per GB", r.BusLow, r.BusHigh, r.CPUPerGB)
	}
}

func near(a, b float64) bool { return a > 0.999*b && a < 1.001*b }

func TestSweepResultsInJSON(t *testing.T) {
	b, err := json.Marshal(SizeResult{Peer: "ringrun-tcp"})
	if err != nil {
		t.Fatal(err)
	}
	for _, field := range strings.Fields(`peer np bytes median_us min_us p99_us mean_us algbw_GBps busbw_GBps
		busbw_lo busbw_hi cpu_s_per_GB cpu_util foreign_cpu steal iters rounds ok`) {
		if !strings.Contains(string(b), `"`+field+`":`) {
			t.Errorf("no %s in %s", field, b)
		}
	}
}

func TestSweepRefusesHalfElements(t *testing.T) {
	s := quick("raw", 6)
	err := s.Run(t.Context(), nil, nil, nil)
	if err == nil || !strings.Contains(err.Error(), "6 bytes") {
		t.Errorf("6 bytes of float32: %v", err)
	}
}
