package allreduce_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ringrun/ringrun/allreduce"
	"github.com/ringrun/ringrun/ring"
	"github.com/ringrun/ringrun/ring/shm"
)

// A hosted group is one whose peers share memory.
type hosted struct {
	*group
	transports []*shm.Transport
}

func openShared(t testing.TB, n int, cfg allreduce.Config) hosted {
	t.Helper()
	return openSharedOver(t, n, cfg, func(tr *shm.Transport) ring.Transport { return tr })
}

// openSharedOver opens one whose rings use what over makes of the transports.
func openSharedOver(t testing.TB, n int, cfg allreduce.Config, over func(*shm.Transport) ring.Transport) hosted {
	t.Helper()
	if shm.Identity() == "" {
		t.Skip("no shared memory here")
	}
	g := hosted{group: &group{TB: t}}
	addrs := map[string]string{}
	byName := map[string]ring.Transport{}
	for i := range n {
		tr, err := shm.Listen(shm.Config{
			ID: fmt.Sprintf("p%d", i), Run: "test", Secret: []byte("sixteen bytes or more"),
			Resolve: func(peer string) (string, error) { return addrs[peer], nil },
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { tr.Close() })
		addrs[fmt.Sprintf("p%d", i)] = tr.Addr()
		byName[fmt.Sprintf("p%d", i)] = over(tr)
		g.transports = append(g.transports, tr)
	}
	g.join(n, func(int) allreduce.Config { return cfg }, func(self string) ring.Transport { return byName[self] })
	return g
}

// inArena copies a vector to where others can read it. It is freed with the test.
func (g hosted) inArena(rank int, x allreduce.Vector) allreduce.Vector {
	g.Helper()
	b, err := g.transports[rank].Alloc(len(x.Bytes()))
	if err != nil {
		g.Fatal(err)
	}
	g.Cleanup(func() { g.transports[rank].Free(b) })
	copy(b, x.Bytes())
	return allreduce.Over(b, x.Type())
}

// TestBoardTypesAndOps compares every type and operation with the oracle of the
// ring, bit for bit, for vectors that take each of the ways there are.
func TestBoardTypesAndOps(t *testing.T) {
	noLeaks(t)
	for _, n := range []int{1, 2, 3, 5} {
		g := openShared(t, n, allreduce.Config{})
		r := rand.New(rand.NewPCG(1, uint64(n)))
		for _, job := range jobs {
			for _, op := range append([]allreduce.Op{allreduce.And, allreduce.Or}, ops...) {
				if t := job(r, allreduce.Sum, n, 0).want.Type(); op > allreduce.Product && !integral(t) {
					continue
				}
				width := job(r, allreduce.Sum, n, 0).want.Type().Size()
				for _, bytes := range []int{0, 1, n * width, 80, 1001, 33001, 150003} {
					for _, arena := range []int{0, 1, n} { // so many ranks have their vectors there
						if bytes < 32<<10 && arena > 0 || n == 1 && arena > 0 || op != allreduce.Sum && (arena == 1 || bytes > 100000) {
							continue
						}
						j := job(r, op, n, (bytes+width-1)/width)
						for rank := range arena {
							j.vectors[rank] = g.inArena(rank, j.vectors[rank])
						}
						g.must(func(ctx context.Context, c *allreduce.Comm) error {
							if err := c.AllReduce(ctx, j.vectors[c.Rank()], op); err != nil {
								return err
							}
							return j.check(c.Rank())
						})
					}
				}
			}
		}
		g.close()
	}
}

// TestBoardIsUsed: nothing is sent over the links, and the payload counts.
func TestBoardIsUsed(t *testing.T) {
	for _, n := range []int{2, 3} {
		g := openShared(t, n, allreduce.Config{})
		for _, length := range []int{1, 3000, 300000} {
			before := g.comms[0].Stats()
			g.must(func(ctx context.Context, c *allreduce.Comm) error {
				return c.AllReduce(ctx, allreduce.Of(make([]float32, length)), allreduce.Sum)
			})
			s := g.comms[0].Stats()
			want := (n - 1) * 4 * length
			if length == 300000 {
				want = 2 * (n - 1) * 4 * length / n
			}
			if got := int(s.SentBodies - before.SentBodies); got != want || s.Frames != 0 {
				t.Errorf("size %d, length %d: %d bytes in %d frames, want %d in none", n, length, got, s.Frames, want)
			}
		}
	}
}

// TestBoardMismatch: all peers learn who wanted what.
func TestBoardMismatch(t *testing.T) {
	for _, tt := range []struct {
		name string
		call func(ctx context.Context, c *allreduce.Comm) error
		want []string
	}{
		{"lengths", func(ctx context.Context, c *allreduce.Comm) error {
			return c.AllReduce(ctx, allreduce.Of(make([]float32, 10+c.Rank()/2)), allreduce.Sum)
		}, []string{"10 float32", "11 float32"}},
		{"operations", func(ctx context.Context, c *allreduce.Comm) error {
			return c.AllReduce(ctx, allreduce.Of(make([]int32, 100000)), []allreduce.Op{allreduce.Sum, allreduce.Max, allreduce.Sum}[c.Rank()])
		}, []string{"sum", "max"}},
		{"kinds", func(ctx context.Context, c *allreduce.Comm) error {
			if c.Rank() == 1 {
				return c.Barrier(ctx)
			}
			return c.AllReduce(ctx, allreduce.Of(make([]int32, 100)), allreduce.Sum)
		}, []string{"barrier", "sum"}},
		{"order", func(ctx context.Context, c *allreduce.Comm) error {
			if c.Rank() == 1 {
				c.Start(allreduce.Of(make([]int32, 7)), allreduce.Sum)
			}
			_, err := c.Gather(ctx, nil)
			if err == nil {
				err = c.AllReduce(ctx, allreduce.Of(make([]int32, 7)), allreduce.Sum)
			}
			return err
		}, []string{"gather", "sum"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			noLeaks(t)
			g := openShared(t, 3, allreduce.Config{})
			for rank, err := range g.each(tt.call) {
				if !errors.Is(err, allreduce.ErrMismatch) {
					t.Errorf("rank %d: %v, want a mismatch", rank, err)
					continue
				}
				for _, want := range tt.want {
					if !strings.Contains(err.Error(), want) {
						t.Errorf("rank %d: %v does not mention %q", rank, err, want)
					}
				}
			}
		})
	}
}

// TestBoardEnds: what ends the ring ends a turn for which others wait.
func TestBoardEnds(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(t *testing.T, g hosted, cancel func())
		want string
	}{
		{"closed", func(_ *testing.T, g hosted, _ func()) { g.comms[2].Close() }, "p2 has left"},
		{"canceled", func(_ *testing.T, _ hosted, cancel func()) { cancel() }, "given up"},
	} {
		for _, length := range []int{1, 1000, 1000000} {
			t.Run(fmt.Sprintf("%s/%d", tt.name, length), func(t *testing.T) {
				noLeaks(t)
				waits := make(chan wait)
				g := openSharedOver(t, 4, allreduce.Config{}, func(tr *shm.Transport) ring.Transport { return attentive{tr, waits} })
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				errs := make(chan error, 3)
				for rank, c := range g.comms {
					if rank == 2 {
						continue
					}
					mine := t.Context()
					if rank == 1 {
						mine = ctx
					}
					go func() { errs <- c.AllReduce(mine, allreduce.Of(make([]float32, length)), allreduce.Sum) }()
				}
				allWait(t, waits, 3, 2)
				begin := time.Now()
				tt.end(t, g, cancel)
				for range 3 {
					if err := <-errs; !errors.Is(err, ring.ErrBroken) || !strings.Contains(err.Error(), tt.want) {
						t.Errorf("%v, want a broken ring that mentions %q", err, tt.want)
					}
				}
				if d := time.Since(begin); d > soon {
					t.Errorf("it took %v", d)
				}
			})
		}
	}
}

// TestBoardStarted: works that were started, and others between them, in the
// order of their numbers.
func TestBoardStarted(t *testing.T) {
	noLeaks(t)
	const n, rounds = 3, 200
	g := openShared(t, n, allreduce.Config{InFlightBytes: 100 << 10})
	g.must(func(ctx context.Context, c *allreduce.Comm) error {
		var works []*allreduce.Work
		var vectors [][]int32
		for i := range rounds {
			x := make([]int32, 1+i*i%5000)
			x[0] = int32(i + c.Rank())
			switch i % 4 {
			case 0:
				if err := c.AllReduce(ctx, allreduce.Of(x), allreduce.Sum); err != nil {
					return err
				}
			case 1:
				if _, err := c.Gather(ctx, []byte{1}); err != nil {
					return err
				}
				x[0] = int32(n*i + 3)
			default:
				works = append(works, c.Start(allreduce.Of(x), allreduce.Sum))
			}
			vectors = append(vectors, x)
		}
		for _, w := range works {
			if err := w.Wait(ctx); err != nil {
				return err
			}
		}
		for i, x := range vectors {
			if x[0] != int32(n*i+3) {
				return fmt.Errorf("round %d: %d, want %d", i, x[0], n*i+3)
			}
		}
		return nil
	})
}

// TestBoardStartedOthers: those that take turns on the board, and those that do
// not, with all begun before the first is waited for.
func TestBoardStartedOthers(t *testing.T) {
	noLeaks(t)
	for _, n := range []int{2, 3} {
		g := openShared(t, n, allreduce.Config{})
		g.must(started)
		g.close()
	}
}

// TestBoardNoAllocs: a small all-reduce takes no memory.
func TestBoardNoAllocs(t *testing.T) {
	g := openShared(t, 2, allreduce.Config{})
	const runs = 1000
	g.must(func(ctx context.Context, c *allreduce.Comm) error {
		x := allreduce.Of(make([]float32, 4))
		call := func() {
			if err := c.AllReduce(ctx, x, allreduce.Sum); err != nil {
				t.Error(err)
			}
		}
		if c.Rank() > 0 {
			for range runs + 1 {
				call()
			}
		} else if got := testing.AllocsPerRun(runs, call); got > 0.5 {
			t.Errorf("%v allocations", got)
		}
		return nil
	})
}

// TestBoardReducesInto has the vectors, and the results, of none, some and all
// ranks in the arenas.
func TestBoardReducesInto(t *testing.T) {
	noLeaks(t)
	for _, n := range []int{2, 3} {
		g := openShared(t, n, allreduce.Config{})
		for _, length := range intoLengths {
			for _, in := range [][2]int{{0, 0}, {n, n}, {n, 0}, {0, n}, {1, n}, {n, 1}} {
				if length*4 < 32<<10 && in[0]+in[1] > 0 {
					continue
				}
				g.must(intoTask(rand.New(rand.NewPCG(3, 4)), n, length, func(rank, which int, x allreduce.Vector) allreduce.Vector {
					if rank < in[which] {
						return g.inArena(rank, x)
					}
					return x
				}))
			}
		}
		g.close()
	}
}

// TestBoardGivesBack: when a collective has returned, its vector belongs to the
// caller again, who writes the operands of the next one there at once, whether
// others have copied their results or not.
func TestBoardGivesBack(t *testing.T) {
	noLeaks(t)
	const rounds = 200
	for _, n := range []int{2, 3, 5} { // with more peers than processors somewhere
		g := openShared(t, n, allreduce.Config{})
		var vectors [][]allreduce.Vector // by rank
		for rank := range n {
			var mine []allreduce.Vector
			for _, length := range []int{16 << 10, 10_001, 100_000, 200_000} {
				mine = append(mine, g.inArena(rank, allreduce.Of(make([]int32, length))))
			}
			vectors = append(vectors, append(mine, allreduce.Of(make([]int32, 400_000))))
		}
		g.must(func(ctx context.Context, c *allreduce.Comm) error {
			for i := range rounds {
				v := vectors[c.Rank()][i*i%11%5]
				x := allreduce.Elements[int32](v)
				for k := range x {
					x[k] = int32(i + k + c.Rank())
				}
				lo, hi := 0, len(x)
				sum := func(k int) int32 { return int32(n*(i+k) + n*(n-1)/2) }
				var want func(k int) int32
				var err error
				switch i % 4 {
				case 0:
					err, want = c.AllReduce(ctx, v, allreduce.Sum), sum
				case 1:
					err, want = c.ReduceScatter(ctx, v, allreduce.Sum, nil), sum
					lo, hi = c.Part(len(x))
				case 2:
					err, want = c.Broadcast(ctx, v, i%n), func(k int) int32 { return int32(i + k + i%n) }
				case 3:
					err = c.AllGather(ctx, v, nil)
					want = func(k int) int32 { return int32(i + k + owner(k, len(x), n)) }
				}
				if err != nil {
					return err
				}
				for k := lo; k < hi; k++ {
					if x[k] != want(k) {
						return fmt.Errorf("%d peers, round %d, %d elements: %d at %d, want %d", n, i, len(x), x[k], k, want(k))
					}
				}
			}
			return nil
		})
		g.close()
	}
}

// TestBoardParts: what moves parts goes over the board as well, small, with the
// vectors of none, some and all in the arenas, and whatever the parts. What a
// peer does not own, and no result, stays as it was.
func TestBoardParts(t *testing.T) {
	noLeaks(t)
	for _, n := range []int{2, 3, 5} {
		g := openShared(t, n, allreduce.Config{})
		r := rand.New(rand.NewPCG(5, uint64(n)))
		for _, length := range []int{0, 1, 5, 3001, 30_001, 150_001} {
			for _, in := range []int{0, 1, n} {
				for _, kind := range []string{"broadcast", "all-gather", "reduce-scatter"} {
					x, root := draw(r, n, length), r.IntN(n)
					parts, bounds := cuts(r, n, length)
					before := g.comms[0].Stats().Frames
					g.must(func(ctx context.Context, c *allreduce.Comm) error {
						v := allreduce.Of(slices.Clone(x[c.Rank()]))
						if c.Rank() < in {
							v = g.inArena(c.Rank(), v)
						}
						lo, hi := bounds[c.Rank()], bounds[c.Rank()+1]
						var err error
						want := slices.Clone(x[c.Rank()])
						switch kind {
						case "broadcast":
							err, want = c.Broadcast(ctx, v, root), x[root]
						case "all-gather":
							err, want = c.AllGather(ctx, v, parts), gathered(x, bounds)
						default:
							err = c.ReduceScatter(ctx, v, allreduce.Sum, parts)
							for i := lo; i < hi; i++ {
								want[i] = chain(x, allreduce.Sum, c.Rank(), i)
							}
						}
						if err != nil {
							return err
						}
						return same(fmt.Sprintf("%s, %d peers, %d in arenas, parts %v", kind, n, in, parts), allreduce.Elements[float64](v), want)
					})
					if after := g.comms[0].Stats().Frames; after != before {
						t.Fatalf("%s: %d frames were sent", kind, after-before)
					}
				}
			}
		}
		g.close()
	}
}

// owner returns the rank whose part of a vector an element is in.
func owner(k, length, n int) int {
	for rank := range n {
		if _, hi := ring.Chunk(length, n, rank); k < hi {
			return rank
		}
	}
	return n
}
