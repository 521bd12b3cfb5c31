package bench

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/ringrun/ringrun/allreduce"
)

// TestSweepOfEveryCollective finds nothing wrong in what is right, at lengths
// that leave parts empty or uneven.
func TestSweepOfEveryCollective(t *testing.T) {
	for _, name := range Collectives() {
		for _, codec := range []string{"raw", "zstd"} {
			for _, size := range []int{1, 2, 3} {
				s := quick(codec, 0, 8, 8*997)
				s.Collective, s.Type = name, allreduce.Float64
				got := sweepOn(t, size, s, sound)
				for _, r := range got {
					if r.Errors != 0 || !r.OK || r.Collective != name || (r.Op == "none") == slices.Contains([]string{"allreduce", "reducescatter", "reduce", "fused"}, name) {
						t.Errorf("%s %s, %d peers: %+v", name, codec, size, r)
					}
				}
				if r := got[2]; size == 3 && slices.Contains([]string{"reducescatter", "allgather", "alltoall", "scatter", "gather", "allgatherv"}, name) && !near(r.BusGBps, r.AlgGBps*2/3) {
					t.Errorf("%s: busbw %v of algbw %v, want 2/3", name, r.BusGBps, r.AlgGBps)
				}
			}
		}
	}
}

// The factors are those of nccl-tests, doc/PERFORMANCE.md.
func TestBusFactors(t *testing.T) {
	all := map[string]func(n float64) float64{
		"allreduce": func(n float64) float64 { return 2 * (n - 1) / n },
		"broadcast": func(float64) float64 { return 1 },
		"barrier":   func(float64) float64 { return 0 },
	}
	all["fused"], all["reduce"], all["sendrecv"] = all["allreduce"], all["broadcast"], all["broadcast"]
	for _, name := range Collectives() {
		want := all[name]
		if want == nil {
			want = func(n float64) float64 { return (n - 1) / n }
		}
		c, err := findCollective(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range []int{1, 2, 4, 7} {
			if got := c.bus(n); got != want(float64(n)) {
				t.Errorf("%s of %d: %v, want %v", name, n, got, want(float64(n)))
			}
		}
	}
}

// spoiling is a Comm that turns a bit in everything it returns, on one rank.
type spoiling struct{ *allreduce.Comm }

func flip(x allreduce.Vector) { x.Bytes()[x.Type().Size()-2] ^= 0x10 }

func (s spoiling) AllReduce(ctx context.Context, x allreduce.Vector, op allreduce.Op) error {
	defer flip(x)
	return s.Comm.AllReduce(ctx, x, op)
}

func (s spoiling) ReduceScatter(ctx context.Context, x allreduce.Vector, op allreduce.Op, parts []int) error {
	lo, hi := s.Part(x.Len())
	defer flip(x.Slice(lo, hi))
	return s.Comm.ReduceScatter(ctx, x, op, parts)
}

func (s spoiling) AllGather(ctx context.Context, x allreduce.Vector, parts []int) error {
	defer flip(x)
	return s.Comm.AllGather(ctx, x, parts)
}

func (s spoiling) Broadcast(ctx context.Context, x allreduce.Vector, root int) error {
	defer flip(x)
	return s.Comm.Broadcast(ctx, x, root)
}

func (s spoiling) AllToAll(ctx context.Context, dst, src []allreduce.Vector) error {
	defer flip(dst[0])
	return s.Comm.AllToAll(ctx, dst, src)
}

func (s spoiling) Reduce(ctx context.Context, x allreduce.Vector, op allreduce.Op, root int) error {
	defer flip(x)
	return s.Comm.Reduce(ctx, x, op, root)
}

func (s spoiling) Scatter(ctx context.Context, x allreduce.Vector, parts []int, root int) error {
	defer flip(x.Slice(0, 1))
	return s.Comm.Scatter(ctx, x, parts, root)
}

func (s spoiling) GatherTo(ctx context.Context, x allreduce.Vector, parts []int, root int) error {
	defer flip(x)
	return s.Comm.GatherTo(ctx, x, parts, root)
}

func (s spoiling) AllReduceAll(ctx context.Context, xs []allreduce.Vector, op allreduce.Op) error {
	defer flip(xs[0])
	return s.Comm.AllReduceAll(ctx, xs, op)
}

// TestSweepCountsWrongCollectives finds one wrong element wherever it is.
func TestSweepCountsWrongCollectives(t *testing.T) {
	for _, name := range Collectives() {
		if name == "barrier" || name == "sendrecv" { // no vector; one that Work writes to
			continue
		}
		s := quick("raw", 4096)
		s.Collective = name
		got := sweepOn(t, 3, s, func(c *allreduce.Comm) Comm {
			if c.Rank() == 0 {
				return spoiling{c}
			}
			return c
		})
		if len(got) != 1 || got[0].Errors != 1 || got[0].OK {
			t.Errorf("%s: %+v, want one error", name, got)
		}
	}
}

func TestSweepRefusesOthers(t *testing.T) {
	s := quick("raw", 4)
	s.Collective = "gossip"
	if err := s.Run(t.Context(), nil, nil, nil); err == nil || !strings.Contains(err.Error(), `"gossip"`) {
		t.Error(err)
	}
}
