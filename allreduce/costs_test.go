package allreduce_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringrun/ringrun/allreduce"
	"github.com/ringrun/ringrun/allreduce/codec"
	"github.com/ringrun/ringrun/ring/ringtest"
)

// gigabit is a network of 1 Gbit/s and 50 µs: 8 ns for a byte.
var gigabit = func() *allreduce.Costs {
	cost := allreduce.Cost{Step: 50e3, Bytes: [3]float64{0, 8 * 16 << 10, 8 * 256 << 10}}
	return &allreduce.Costs{cost, cost, cost}
}()

// TestTime compares the model with the formulas.
func TestTime(t *testing.T) {
	for _, tt := range []struct {
		a        allreduce.Algorithm
		n, bytes int
		want     float64 // µs
	}{
		{allreduce.Ring, 2, 0, 100},
		{allreduce.Ring, 8, 1 << 20, 14*50 + 14.0/8*1048.576*8},
		{allreduce.Exchange, 8, 1000, 7*50 + 7*8},
		{allreduce.Dissemination, 8, 1000, 3*50 + 7*8},
		{allreduce.Dissemination, 9, 1 << 20, 4*50 + 8*1048.576*8},
	} {
		got := float64(gigabit.Time(tt.a, tt.n, tt.bytes)) / 1e3
		if got < tt.want-1 || got > tt.want+1 {
			t.Errorf("%v of %d bytes among %d: %v µs, want %v", tt.a, tt.bytes, tt.n, got, tt.want)
		}
	}
}

// TestSameChoice: with the same costs from rank 0, all peers choose alike, small
// vectors whole and large ones by the ring, and the results are right.
func TestSameChoice(t *testing.T) {
	for _, tt := range []struct{ n, whole, cut int }{{3, 10000, 50000}, {8, 10000, 100000}, {16, 10000, 100000}} {
		g := openChords(t, tt.n, ringtest.Options{}, allreduce.Config{})
		g.must(func(ctx context.Context, c *allreduce.Comm) error {
			var known *allreduce.Costs
			if c.Rank() == 0 {
				known = gigabit
			} else if c.Rank() == 1 {
				known = &allreduce.Costs{} // not asked
			}
			k, err := c.Tune(ctx, known)
			if err != nil {
				return err
			}
			if *k != *gigabit {
				return fmt.Errorf("rank %d: costs %v, want those of rank 0", c.Rank(), k)
			}
			for bytes, want := range map[int]allreduce.Algorithm{tt.whole: allreduce.Dissemination, tt.cut: allreduce.Ring} {
				if got := c.Choice(allreduce.Of(make([]byte, bytes))); got != want {
					return fmt.Errorf("rank %d of %d: %v for %d bytes, want %v", c.Rank(), tt.n, got, bytes, want)
				}
			}
			return nil
		})
		checkSum(g, tt.whole/4)
		checkSum(g, tt.cut/4)
		g.close()
	}
}

// TestGuess: where whole vectors were as fast as the ring at the largest size that
// was measured, larger ones go round the ring.
func TestGuess(t *testing.T) {
	k := *gigabit
	for i := range k {
		k[i].Step = 1e3
	}
	g := openChords(t, 2, ringtest.Options{}, allreduce.Config{})
	g.must(func(ctx context.Context, c *allreduce.Comm) error {
		if _, err := c.Tune(ctx, &k); err != nil {
			return err
		}
		for bytes, want := range map[int]allreduce.Algorithm{256 << 10: allreduce.Exchange, 1 << 20: allreduce.Ring} {
			if got := c.Choice(allreduce.Of(make([]byte, bytes))); got != want {
				return fmt.Errorf("%v for %d bytes, want %v", got, bytes, want)
			}
		}
		return nil
	})
}

// TestTune measures in virtual time, where only steps take any: the algorithm
// of the fewest steps wins, whatever the size, until vectors are too large to be
// held by all.
func TestTune(t *testing.T) {
	for _, n := range []int{2, 3, 6} {
		synctest.Test(t, func(t *testing.T) {
			const delay = 2 * time.Millisecond
			g := openChords(t, n, ringtest.Options{Delay: delay, Window: 64 << 20}, allreduce.Config{})
			costs := make([]*allreduce.Costs, n)
			g.must(func(ctx context.Context, c *allreduce.Comm) (err error) {
				costs[c.Rank()], err = c.Tune(ctx, nil)
				return err
			})
			best := allreduce.Dissemination
			if n == 2 {
				best = allreduce.Exchange
			}
			for rank, k := range costs {
				if *k != *costs[0] {
					t.Errorf("rank %d has other costs than rank 0: %v, %v", rank, k, costs[0])
				}
				for bytes, want := range map[int]allreduce.Algorithm{4: best, 100 << 10: best, 64 << 20: allreduce.Ring} {
					if got := g.comms[rank].Choice(allreduce.Of(make([]byte, bytes))); got != want {
						t.Errorf("rank %d of %d: %v for %d bytes, want %v; %v", rank, n, got, bytes, want, k)
					}
				}
			}
			if got := costs[0].Time(allreduce.Ring, n, 4); got < delay*time.Duration(n-1) || got > 2*delay*time.Duration(n) {
				t.Errorf("a ring of %d takes %v, want about %d delays", n, got, 2*(n-1))
			}
		})
	}
}

// TestTuneSlowly: links of 400 KB/s. The largest size is not tried, but taken to
// be as much slower as the bytes say.
func TestTuneSlowly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := openChords(t, 4, ringtest.Options{Delay: 20 * time.Millisecond, FrameBytes: 4 << 10, Window: 8 << 10}, allreduce.Config{})
		begin := time.Now()
		g.must(func(ctx context.Context, c *allreduce.Comm) error {
			k, err := c.Tune(ctx, nil)
			if err != nil {
				return err
			}
			b := k[allreduce.Dissemination-allreduce.Ring].Bytes
			if b[1] <= 0 || b[2] < 15*b[1] || b[2] > 17*b[1] {
				return fmt.Errorf("bytes take %v, want the third to be 16 times the second", b)
			}
			return nil
		})
		if d := time.Since(begin); d > 5*time.Second {
			t.Errorf("it took %v", d)
		}
	})
}

// TestTuneWithCodec: vectors that the codec does not take have a choice.
func TestTuneWithCodec(t *testing.T) {
	half, err := codec.ByName("half")
	if err != nil {
		t.Fatal(err)
	}
	g := openChords(t, 4, ringtest.Options{}, allreduce.Config{Codec: half})
	g.must(func(ctx context.Context, c *allreduce.Comm) error {
		if _, err := c.Tune(ctx, nil); err != nil {
			return err
		}
		if got := c.Choice(allreduce.Of(make([]float32, 1))); got != allreduce.Ring {
			return fmt.Errorf("%v of float32 with a codec", got)
		}
		return c.AllReduce(ctx, allreduce.Of(make([]int8, 1)), allreduce.Sum)
	})
}

// TestTuneOfOne has nothing to choose.
func TestTuneOfOne(t *testing.T) {
	g := open(t, 1, ringtest.Options{}, allreduce.Config{})
	if _, err := g.comms[0].Tune(t.Context(), nil); err != nil {
		t.Error(err)
	}
	if a := g.comms[0].Choice(allreduce.Of([]float32{1})); a != allreduce.Auto {
		t.Errorf("a ring of one chooses %v", a)
	}
}
