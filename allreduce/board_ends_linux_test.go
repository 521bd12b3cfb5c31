package allreduce_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/ringrun/ringrun/allreduce"
)

// TestBoardDisagreements: whatever one peer calls while the others call something
// else, on the board or over the links, all learn who wanted what.
func TestBoardDisagreements(t *testing.T) {
	noLeaks(t)
	for _, tt := range disagreements {
		for _, n := range []int{2, 3} {
			for odd := range n {
				g := openShared(t, n, allreduce.Config{})
				for rank, err := range g.each(func(ctx context.Context, c *allreduce.Comm) error {
					f := tt.most
					if c.Rank() == odd {
						f = tt.other
					}
					return errors.Join(f(ctx, c), c.Barrier(ctx)) // a broadcast may have ended well on some ranks
				}) {
					if !errors.Is(err, allreduce.ErrMismatch) || !strings.Contains(err.Error(), tt.says[0]) || !strings.Contains(err.Error(), tt.says[1]) {
						t.Errorf("%s, size %d, odd %d: rank %d: %v, want %q", tt.name, n, odd, rank, err, tt.says)
					}
				}
				g.close()
			}
		}
	}
}

// TestBoardLeavesNothing: epochs that end in all ways leave no memory mapped and
// no file open, nor do their groups.
func TestBoardLeavesNothing(t *testing.T) {
	noLeaks(t)
	var maps, files int
	for epoch := range 10 {
		if epoch == 1 { // the first has opened what the runtime keeps
			maps, files = holdings(t)
		}
		g := openShared(t, 3, allreduce.Config{})
		ctx, cancel := context.WithCancel(g.within(time.Minute))
		end := []func(){cancel, func() { g.comms[2].Close() }, func() {}}[epoch%3]
		g.each(func(_ context.Context, c *allreduce.Comm) error {
			sub, err := c.Group(ctx, []int{2, 0, 1})
			for i := 0; err == nil && i < 10; i++ {
				if i == epoch && c.Rank() == 2 {
					end()
				}
				x := allreduce.Of(make([]float32, []int{1, 3000, 50000}[i%3]))
				err = errors.Join(c.Start(x, allreduce.Sum).Wait(ctx), sub.AllReduce(ctx, x, allreduce.Sum))
			}
			return err
		})
		cancel()
		g.close()
		for _, tr := range g.transports {
			tr.Close()
		}
	}
	if m, f := holdings(t); m != maps || f != files {
		t.Errorf("%d sheets and arenas mapped and %d files open, want %d and %d as before", m, f, maps, files)
	}
}

// holdings returns how much shared memory is mapped and how many files are open.
func holdings(t *testing.T) (maps, files int) {
	t.Helper()
	all, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(all), "memfd:ringrun"), len(fds)
}
