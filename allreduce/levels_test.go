package allreduce_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringrun/ringrun/allreduce"
	"github.com/ringrun/ringrun/allreduce/codec"
	"github.com/ringrun/ringrun/ring"
	"github.com/ringrun/ringrun/ring/ringtest"
)

// onHosts opens a ring whose ranks are on the hosts that the letters name.
func onHosts(t testing.TB, hosts string, opts ringtest.Options, cfg allreduce.Config) *group {
	t.Helper()
	g := openChords(t, len(hosts), opts, cfg)
	g.must(func(ctx context.Context, c *allreduce.Comm) error {
		return c.ByHosts(ctx, strings.Split(hosts, ""))
	})
	return g
}

// onLevels returns what an all-reduce on two levels must make of the vectors of
// all ranks, the slow way: within each host as a ring would, then over the hosts.
func onLevels[T allreduce.Element](hosts string, x [][]T, op allreduce.Op) []T {
	var locals [][][]T // by host, by peer
	for _, h := range strings.Split(hosts, "") {
		if i := strings.Index(hosts, h); len(locals) <= countHosts(hosts[:i]) {
			locals = append(locals, nil)
		}
	}
	for rank, h := range strings.Split(hosts, "") {
		i := countHosts(hosts[:strings.Index(hosts, h)])
		locals[i] = append(locals[i], x[rank])
	}
	even := true
	for _, of := range locals {
		even = even && len(of) == len(locals[0])
	}
	out := make([]T, len(x[0]))
	size := allreduce.Of(out).Type().Size()
	pieces := max(1, (len(out)*size+512<<10-1)/(512<<10))
	for p := range pieces {
		plo, phi := ring.Chunk(len(out), pieces, p)
		for k := range locals[0] {
			lo, hi := ring.Chunk(phi-plo, len(locals[0]), k)
			if !even {
				lo, hi = 0, phi-plo // the leaders', in the order of a reduce to rank 0
			}
			var sums [][]T
			for _, of := range locals {
				sum := make([]T, hi-lo)
				for i := range sum {
					rank := k
					if !even {
						rank = 0
					}
					sum[i] = chain(of, op, rank, plo+lo+i)
				}
				sums = append(sums, sum)
			}
			copy(out[plo+lo:], reduced(sums, op))
			if !even {
				break
			}
		}
	}
	return out
}

func countHosts(s string) int {
	seen := map[rune]bool{}
	for _, h := range s {
		seen[h] = true
	}
	return len(seen)
}

// TestTwoLevels compares with the oracle, bit for bit: hosts of equal and of
// different sizes, in any order, vectors of several pieces.
func TestTwoLevels(t *testing.T) {
	noLeaks(t)
	for _, hosts := range []string{"aab", "aabb", "abab", "abba", "aaabbb", "aabbcc", "abcabc", "aaabbc", "abbbb"} {
		n := len(hosts)
		g := onHosts(t, hosts, ringtest.Options{FrameBytes: 64 << 10}, allreduce.Config{})
		for _, length := range []int{0, 1, n - 1, 1001, 300001} {
			r := rand.New(rand.NewPCG(uint64(length), uint64(n)))
			x, copies := make([][]float32, n), make([][]float32, n)
			for rank := range x {
				x[rank] = random(length, rank+int(r.Uint32()%1000))
				copies[rank] = append([]float32(nil), x[rank]...)
			}
			want := onLevels(hosts, copies, allreduce.Sum)
			g.must(func(ctx context.Context, c *allreduce.Comm) error {
				return c.AllReduceBy(ctx, allreduce.TwoLevel, allreduce.Of(x[c.Rank()]), allreduce.Sum)
			})
			for rank := range x {
				for i := range want {
					if x[rank][i] != want[i] {
						t.Fatalf("%s, %d elements: element %d on rank %d is %v, want %v", hosts, length, i, rank, x[rank][i], want[i])
					}
				}
			}
		}
		g.close()
	}
}

// TestTwoLevelOps tries every type and operation with integers, whose order does
// not matter, and means of all.
func TestTwoLevelOps(t *testing.T) {
	for _, hosts := range []string{"aabb", "aab"} {
		n := len(hosts)
		g := onHosts(t, hosts, ringtest.Options{}, allreduce.Config{})
		r := rand.New(rand.NewPCG(3, 1))
		for _, job := range jobs {
			for _, op := range ops {
				j := job(r, op, n, 501)
				if !integral(j.want.Type()) {
					continue
				}
				g.must(func(ctx context.Context, c *allreduce.Comm) error {
					if err := c.AllReduceBy(ctx, allreduce.TwoLevel, j.vectors[c.Rank()], op); err != nil {
						return err
					}
					return j.check(c.Rank())
				})
			}
		}
		for _, x := range []allreduce.Vector{allreduce.Of(make([]allreduce.F16, 10)), allreduce.Of(make([]float64, 10))} {
			g.must(func(ctx context.Context, c *allreduce.Comm) error {
				h, f := []allreduce.F16{allreduce.NewF16(60000)}, []float64{float64(c.Rank())}
				if x.Type() == allreduce.Float16 { // the sum would overflow
					if err := c.AllReduceBy(ctx, allreduce.TwoLevel, allreduce.Of(h), allreduce.Mean); err != nil {
						return err
					}
					if d := h[0].Float32() - 60000; d > 100 || d < -100 {
						return fmt.Errorf("mean %v, want 60000", h[0].Float32())
					}
					return nil
				}
				err := c.AllReduceBy(ctx, allreduce.TwoLevel, allreduce.Of(f), allreduce.Mean)
				if want := float64(n-1) / 2; err == nil && (f[0] < want-1e-9 || f[0] > want+1e-9) {
					err = fmt.Errorf("mean %v, want %v", f[0], want)
				}
				return err
			})
		}
		g.close()
	}
}

// TestTwoLevelCodec: only what goes between hosts is rounded, and all ranks end
// with equal bits.
func TestTwoLevelCodec(t *testing.T) {
	half, err := codec.ByName("half")
	if err != nil {
		t.Fatal(err)
	}
	for _, hosts := range []string{"aabb", "aabbb"} {
		g := onHosts(t, hosts, ringtest.Options{}, allreduce.Config{Codec: half})
		x := make([][]float32, len(hosts))
		for rank := range x {
			x[rank] = random(200000, rank)
		}
		g.must(func(ctx context.Context, c *allreduce.Comm) error {
			v := allreduce.Of(x[c.Rank()])
			if got := c.Choice(v); got != allreduce.TwoLevel {
				return fmt.Errorf("%v for 800 KB with a codec", got)
			}
			return c.AllReduce(ctx, v, allreduce.Mean)
		})
		sameBits(g, x, hosts)
		g.close()
	}
}

// TestTwoLevelsInFlight mixes works of both levels with small ones and barriers.
func TestTwoLevelsInFlight(t *testing.T) {
	g := onHosts(t, "aaabbb", ringtest.Options{Lanes: 2}, allreduce.Config{InFlightBytes: 1 << 20})
	r := rand.New(rand.NewPCG(4, 4))
	var js []job
	for i := range 24 {
		js = append(js, jobs[2+i%2](r, allreduce.Sum, 6, r.IntN(60000))) // integers
	}
	g.must(func(ctx context.Context, c *allreduce.Comm) error {
		var works []*allreduce.Work
		for i, j := range js {
			works = append(works, c.Start(j.vectors[c.Rank()], j.op))
			if i%6 == 5 {
				if err := c.Barrier(ctx); err != nil {
					return err
				}
			}
		}
		for i, w := range works {
			if err := errors.Join(w.Wait(ctx), js[i].check(c.Rank())); err != nil {
				return err
			}
		}
		return nil
	})
}

// TestTwoLevelTime: the stages work at the same time, and pieces follow each other
// without waiting for the last to arrive.
func TestTwoLevelTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := onHosts(t, "aabb", ringtest.Options{Delay: time.Millisecond, Window: 64 << 20}, allreduce.Config{})
		begin := time.Now()
		g.must(by(allreduce.TwoLevel, 1<<20))
		if d := time.Since(begin); d > 20*time.Millisecond {
			t.Errorf("eight pieces took %v, want a pipeline of a few delays", d)
		}
	})
}

// TestTwoLevelMismatch: one rank wants another length, operation or algorithm.
func TestTwoLevelMismatch(t *testing.T) {
	large := reduce[float32](allreduce.Sum, 100000)
	for name, tt := range map[string]struct {
		other call
		says  [2]string
	}{
		"length":    {reduce[float32](allreduce.Sum, 100001), [2]string{"", ""}},
		"small":     {reduce[float32](allreduce.Sum, 10), [2]string{"the sum of 100000 float32", "the sum of 10 float32"}},
		"op":        {reduce[float32](allreduce.Max, 100000), [2]string{"", ""}},
		"gather":    {gatherBytes(3), [2]string{"the sum of 100000 float32", "a gather"}},
		"algorithm": {by(allreduce.Ring, 100000), [2]string{"the sum of 100000 float32", "the sum of 100000 float32 in form "}},
	} {
		for odd := range 4 {
			synctest.Test(t, func(t *testing.T) {
				g := onHosts(t, "aabb", ringtest.Options{Delay: time.Millisecond}, allreduce.Config{})
				for rank, err := range g.each(func(ctx context.Context, c *allreduce.Comm) error {
					f := large
					if c.Rank() == odd {
						f = tt.other
					}
					if err := f(ctx, c); err != nil {
						return err
					}
					return c.Barrier(ctx)
				}) {
					if !errors.Is(err, allreduce.ErrMismatch) || !strings.Contains(err.Error(), tt.says[0]) || !strings.Contains(err.Error(), tt.says[1]) {
						t.Errorf("%s, rank %d is odd: rank %d: %v", name, odd, rank, err)
					}
				}
			})
		}
	}
}

// TestTwoLevelDeath kills a peer in the middle, and gives up in the middle. When
// the works have ended nobody writes to their vectors.
func TestTwoLevelDeath(t *testing.T) {
	for name, fault := range map[string]func(g *group){
		"kill":  func(g *group) { g.net.Kill("p3") },
		"close": func(g *group) { g.comms[1].Close() },
	} {
		synctest.Test(t, func(t *testing.T) {
			g := onHosts(t, "aabb", ringtest.Options{Delay: time.Millisecond, FrameBytes: 4 << 10, Window: 8 << 10}, allreduce.Config{})
			time.AfterFunc(30*time.Millisecond, func() { fault(g) })
			begin := time.Now()
			for rank, err := range g.each(func(ctx context.Context, c *allreduce.Comm) error {
				x := make([]float32, 1<<20)
				for {
					if err := c.AllReduce(ctx, allreduce.Of(x), allreduce.Sum); err != nil {
						clear(x) // ours again, which -race checks
						return err
					}
				}
			}) {
				if !errors.Is(err, ring.ErrBroken) {
					t.Errorf("%s: rank %d: %v", name, rank, err)
				}
			}
			if d := time.Since(begin); d > time.Second {
				t.Errorf("%s: the last knew after %v", name, d)
			}
		})
	}
}

// TestByHostsSenseless: hosts that peers disagree about, and those that change
// nothing.
func TestByHostsSenseless(t *testing.T) {
	g := open(t, 4, ringtest.Options{}, allreduce.Config{})
	for rank, err := range g.each(func(ctx context.Context, c *allreduce.Comm) error {
		return c.ByHosts(ctx, []string{"a", "b"})
	}) {
		if !errors.Is(err, allreduce.ErrGroup) {
			t.Errorf("two hosts for four: rank %d: %v", rank, err)
		}
	}
	for rank, err := range g.each(func(ctx context.Context, c *allreduce.Comm) error {
		hosts := []string{"a", "a", "b", "b"}
		if c.Rank() == 2 {
			hosts[1] = "b"
		}
		return c.ByHosts(ctx, hosts)
	}) {
		if !errors.Is(err, allreduce.ErrGroup) {
			t.Errorf("other hosts on rank 2: rank %d: %v", rank, err)
		}
	}
	for _, hosts := range []string{"aaaa", "abcd"} {
		g.must(func(ctx context.Context, c *allreduce.Comm) error {
			if err := c.ByHosts(ctx, strings.Split(hosts, "")); err != nil {
				return err
			}
			if len(c.Algorithms()) != 2 {
				return fmt.Errorf("%s: %v", hosts, c.Algorithms())
			}
			return c.AllReduce(ctx, allreduce.Of(make([]float32, 100000)), allreduce.Sum)
		})
	}
}
