package allreduce_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringrun/ringrun/allreduce"
	"github.com/ringrun/ringrun/allreduce/codec"
	"github.com/ringrun/ringrun/ring"
	"github.com/ringrun/ringrun/ring/ringtest"
)

func by(a allreduce.Algorithm, length int) call {
	return func(ctx context.Context, c *allreduce.Comm) error {
		return c.AllReduceBy(ctx, a, allreduce.Of(make([]float32, length)), allreduce.Sum)
	}
}

// TestAlgorithms compares every algorithm with the oracle, bit for bit: every
// type and operation, lengths from nothing to many frames, and sizes of ring
// between the powers of two.
func TestAlgorithms(t *testing.T) {
	noLeaks(t)
	for _, n := range []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 17} {
		g := openChords(t, n, ringtest.Options{FrameBytes: 512, Lanes: 1 + n%2}, allreduce.Config{})
		r := rand.New(rand.NewPCG(11, uint64(n)))
		for _, a := range g.comms[0].Algorithms() {
			for i, job := range jobs {
				op := ops[(i+n)%len(ops)]
				for _, length := range []int{0, 1, n - 1, n + 1, 257} {
					j := job(r, op, n, length)
					g.must(func(ctx context.Context, c *allreduce.Comm) error {
						if err := c.AllReduceBy(ctx, a, j.vectors[c.Rank()], op); err != nil {
							return fmt.Errorf("%v: %w", a, err)
						}
						if err := j.check(c.Rank()); err != nil {
							return fmt.Errorf("%v: %w", a, err)
						}
						return nil
					})
				}
			}
		}
		g.close()
	}
}

// TestSameBits gives all algorithms what rounds, overflows and is not a number:
// whichever is taken, the ring's bits come out.
func TestSameBits(t *testing.T) {
	odd := []float32{float32(math.NaN()), math.Float32frombits(0x7fc12345), math.Float32frombits(0xffc00001),
		float32(math.Inf(1)), float32(math.Inf(-1)), 0, float32(math.Copysign(0, -1)), math.MaxFloat32, 1e-45}
	for _, n := range []int{3, 5, 8} {
		g := openChords(t, n, ringtest.Options{FrameBytes: 1 << 10}, allreduce.Config{})
		for _, op := range ops {
			results := map[allreduce.Algorithm][]string{}
			for _, a := range g.comms[0].Algorithms() {
				results[a] = make([]string, n)
				g.must(func(ctx context.Context, c *allreduce.Comm) error {
					r := rand.New(rand.NewPCG(uint64(op), uint64(c.Rank())))
					x := random(2000, c.Rank())
					for i := range x {
						if r.IntN(4) == 0 {
							x[i] = odd[r.IntN(len(odd))]
						}
					}
					err := c.AllReduceBy(ctx, a, allreduce.Of(x), op)
					results[a][c.Rank()] = string(allreduce.Of(x).Bytes())
					return err
				})
			}
			for a, of := range results {
				for rank := range of {
					if of[rank] != results[allreduce.Ring][0] {
						t.Errorf("size %d, %v: the bits of %v on rank %d are not the ring's", n, op, a, rank)
					}
				}
			}
		}
		g.close()
	}
}

// TestSteps measures in virtual time, where nothing but a link takes any: every
// step is one delay.
func TestSteps(t *testing.T) {
	const delay = 10 * time.Millisecond
	for _, n := range []int{2, 3, 4, 5, 8, 9, 16} {
		last := bits.Len(uint(n-1)) - 1 // step, to which so many vectors are left:
		left := n - 1<<last
		log := max(last, 1+bits.Len(uint(left-1)))
		for _, tt := range []struct {
			name string
			call call
			want int
		}{
			{"ring", by(allreduce.Ring, 100), 2 * (n - 1)},
			{"exchange", by(allreduce.Exchange, 100), n - 1},
			{"dissemination", by(allreduce.Dissemination, 100), log},
			{"barrier", func(ctx context.Context, c *allreduce.Comm) error { return c.Barrier(ctx) }, log},
		} {
			if n == 2 && tt.name == "dissemination" {
				continue
			}
			synctest.Test(t, func(t *testing.T) {
				g := openChords(t, n, ringtest.Options{Delay: delay}, allreduce.Config{})
				begin := time.Now()
				g.must(func(ctx context.Context, c *allreduce.Comm) error {
					for range 3 {
						if err := tt.call(ctx, c); err != nil {
							return err
						}
					}
					return nil
				})
				if d := time.Since(begin); d != time.Duration(3*tt.want)*delay {
					t.Errorf("%s among %d: three took %v, want %d steps of %v each", tt.name, n, d, tt.want, delay)
				}
			})
		}
	}
}

// TestDisseminationBytes: a peer sends n-1 vectors in log2(n) frames.
func TestDisseminationBytes(t *testing.T) {
	const length = 100
	for _, n := range []int{3, 4, 6, 8, 13} {
		g := openChords(t, n, ringtest.Options{}, allreduce.Config{SmallBytes: 4 * length})
		g.must(reduce[float32](allreduce.Sum, length))
		for rank, c := range g.comms {
			s := c.Stats()
			if s.SentBodies != uint64((n-1)*4*length) || s.ReceivedBodies != s.SentBodies || s.Frames != uint64(bits.Len(uint(n-1))) {
				t.Errorf("rank %d of %d: %+v, want %d vectors of %d bytes in %d frames", rank, n, s, n-1, 4*length, bits.Len(uint(n-1)))
			}
		}
		g.close()
	}
}

// TestBarrierOverChords: nobody passes before the last has come.
func TestBarrierOverChords(t *testing.T) {
	for _, n := range []int{3, 4, 7, 16} {
		synctest.Test(t, func(t *testing.T) {
			g := openChords(t, n, ringtest.Options{Delay: time.Millisecond}, allreduce.Config{})
			begin := time.Now()
			g.must(func(ctx context.Context, c *allreduce.Comm) error {
				if c.Rank() == n/2 {
					time.Sleep(time.Second)
				}
				if err := c.Barrier(ctx); err != nil {
					return err
				}
				if d := time.Since(begin); d < time.Second {
					return fmt.Errorf("rank %d passed after %v", c.Rank(), d)
				}
				return nil
			})
		})
	}
}

// TestMixedInFlight starts collectives of many sizes, kinds and algorithms one
// behind the other, and peers are late by turns.
func TestMixedInFlight(t *testing.T) {
	for _, n := range []int{3, 6} {
		synctest.Test(t, func(t *testing.T) {
			g := openChords(t, n, ringtest.Options{FrameBytes: 1 << 10, Window: 2 << 10, Lanes: 2}, allreduce.Config{SmallBytes: 3000, InFlightBytes: 20000})
			r := rand.New(rand.NewPCG(5, uint64(n)))
			var js []job
			for i := range 60 {
				js = append(js, jobs[i%len(jobs)](r, ops[i%len(ops)], n, r.IntN(2000)))
			}
			g.must(func(ctx context.Context, c *allreduce.Comm) error {
				r := rand.New(rand.NewPCG(6, uint64(c.Rank())))
				var works []*allreduce.Work
				for i, j := range js {
					if r.IntN(8) == 0 {
						time.Sleep(time.Duration(r.IntN(1000)) * time.Microsecond)
					}
					works = append(works, c.Start(j.vectors[c.Rank()], j.op))
					if i%10 == 9 {
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
			g.close()
		})
	}
}

// TestMismatchOverChords has one rank call something else than the others, of
// which some goes over the chords and some does not.
func TestMismatchOverChords(t *testing.T) {
	small, large := reduce[float32](allreduce.Sum, 1000), reduce[float32](allreduce.Sum, 200000)
	for _, tt := range []struct {
		name        string
		most, other call
		says        [2]string
	}{
		{"small and large", small, large, [2]string{"the sum of 1000 float32 (raw)", "the sum of 200000 float32 (raw)"}},
		{"large and small", large, small, [2]string{"the sum of 200000 float32 (raw)", "the sum of 1000 float32 (raw)"}},
		{"op", small, reduce[float32](allreduce.Max, 1000), [2]string{"the sum of 1000 float32", "the max of 1000 float32"}},
		{"nothing", small, reduce[float32](allreduce.Sum, 0), [2]string{"the sum of 1000 float32", "the sum of 0 float32"}},
		{"barrier", small, func(ctx context.Context, c *allreduce.Comm) error { return c.Barrier(ctx) },
			[2]string{"the sum of 1000 float32", "a barrier"}},
		{"barrier and gather", func(ctx context.Context, c *allreduce.Comm) error { return c.Barrier(ctx) }, gatherBytes(0),
			[2]string{"a barrier", "a gather"}},
		{"algorithm", by(allreduce.Ring, 100), by(allreduce.Dissemination, 100),
			[2]string{"the sum of 100 float32 in form ", "the sum of 100 float32 in form "}},
	} {
		for _, n := range []int{3, 4, 7} {
			for odd := range n {
				t.Run(fmt.Sprintf("%s/size=%d/odd=%d", tt.name, n, odd), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						opts := ringtest.Options{Lanes: 2, FrameBytes: 16 << 10, Delay: time.Millisecond}
						g := openChords(t, n, opts, allreduce.Config{SmallBytes: 4 << 10})
						disagree(g, odd, tt.most, tt.other, tt.says)
					})
				})
			}
		}
	}
}

// TestDeathOverChords kills a peer while vectors are on their way, and cuts one
// chord: no rank waits on, and none ends with a wrong result.
func TestDeathOverChords(t *testing.T) {
	for name, fault := range map[string]func(*ringtest.Net){
		"kill":      func(net *ringtest.Net) { net.Kill("p1") },
		"cut chord": func(net *ringtest.Net) { net.Cut("p1", "p3") },
		"stop":      func(net *ringtest.Net) { net.Stall("p2"); time.AfterFunc(3*silence, func() { net.Resume("p2") }) },
	} {
		for _, n := range []int{4, 7} {
			t.Run(fmt.Sprintf("%s/size=%d", name, n), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					g := openChords(t, n, ringtest.Options{FrameBytes: 1 << 10, Window: 2 << 10, Delay: time.Millisecond}, allreduce.Config{SmallBytes: 1 << 20})
					time.AfterFunc(20500*time.Microsecond, func() { fault(g.net) })
					begin := time.Now()
					for rank, err := range g.each(func(ctx context.Context, c *allreduce.Comm) error {
						for {
							x := allreduce.Of([]int32{1, 2, 3, 4, 5})
							if err := c.AllReduce(ctx, x, allreduce.Sum); err != nil {
								return err
							}
							if got := allreduce.Elements[int32](x)[4]; got != int32(5*n) {
								return fmt.Errorf("the sum is %d, want %d", got, 5*n)
							}
						}
					}) {
						if !errors.Is(err, ring.ErrBroken) {
							t.Errorf("rank %d: %v", rank, err)
						}
					}
					if d := time.Since(begin); d > 4*silence {
						t.Errorf("the last knew after %v", d)
					}
				})
			})
		}
	}
}

// TestLeaveOverChords: every peer closes as soon as it has its own result. The
// others must get theirs.
func TestLeaveOverChords(t *testing.T) {
	for range 20 {
		g := openChords(t, 7, ringtest.Options{}, allreduce.Config{SmallBytes: 1 << 10})
		var wg sync.WaitGroup
		for _, c := range g.comms {
			wg.Go(func() {
				x := []float32{float32(c.Rank())}
				if err := c.AllReduce(t.Context(), allreduce.Of(x), allreduce.Sum); err != nil || x[0] != 21 {
					t.Errorf("rank %d: %v, %v; want 21", c.Rank(), x[0], err)
				}
				c.Close()
			})
		}
		wg.Wait()
	}
}

// TestAlgorithmErrors asks for what the ring does not have.
func TestAlgorithmErrors(t *testing.T) {
	half, err := codec.ByName("half")
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		g    *group
		call call
	}{
		"no chords":    {open(t, 3, ringtest.Options{}, allreduce.Config{}), by(allreduce.Dissemination, 100)},
		"two":          {openChords(t, 2, ringtest.Options{}, allreduce.Config{}), by(allreduce.Dissemination, 100)},
		"unknown":      {open(t, 2, ringtest.Options{}, allreduce.Config{}), by(99, 100)},
		"with a codec": {openChords(t, 3, ringtest.Options{}, allreduce.Config{Codec: half}), by(allreduce.Exchange, 100)},
	} {
		for rank, err := range tt.g.each(tt.call) {
			if !errors.Is(err, allreduce.ErrAlgorithm) {
				t.Errorf("%s: rank %d: %v, want ErrAlgorithm", name, rank, err)
			}
		}
		tt.g.must(reduce[float32](allreduce.Sum, 5))
	}
	for _, a := range []allreduce.Algorithm{allreduce.Auto, allreduce.Ring, allreduce.Exchange, allreduce.Dissemination} {
		if got, err := allreduce.ParseAlgorithm(a.String()); got != a || err != nil {
			t.Errorf("ParseAlgorithm(%q) = %v, %v", a, got, err)
		}
	}
	if _, err := allreduce.ParseAlgorithm("tree"); !errors.Is(err, allreduce.ErrAlgorithm) {
		t.Errorf("ParseAlgorithm(tree): %v", err)
	}
}
