package allreduce_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringrun/ringrun/allreduce"
	"github.com/ringrun/ringrun/ring"
	"github.com/ringrun/ringrun/ring/ringtest"
)

// within runs f in the group of this rank, which is closed then.
func within(ranks func(rank int) []int, f call) call {
	return func(ctx context.Context, c *allreduce.Comm) error {
		g, err := c.Group(ctx, ranks(c.Rank()))
		if err != nil {
			return err
		}
		defer g.Close()
		return f(ctx, g)
	}
}

// halves puts the ranks 5, 1 and 3 into one group, 0, 2 and 4 into another.
func halves(rank int) []int {
	if rank%2 == 1 {
		return []int{5, 1, 3}
	}
	return []int{0, 2, 4}
}

// TestGroupRanks: ranks, peers, epochs and results are those of the group.
func TestGroupRanks(t *testing.T) {
	noLeaks(t)
	g := openChords(t, 6, ringtest.Options{Lanes: 2}, allreduce.Config{SmallBytes: 64})
	g.must(within(halves, func(ctx context.Context, c *allreduce.Comm) error {
		if c.Size() != 3 || c.Epoch() != 7 {
			return fmt.Errorf("size %d, epoch %d", c.Size(), c.Epoch())
		}
		all, err := c.Gather(ctx, fmt.Append(nil, c.Rank()))
		if err != nil || string(slices.Concat(all...)) != "012" {
			return fmt.Errorf("ranks %q, %v", all, err)
		}
		return nil
	}))
	for _, length := range []int{3, 5000} {
		g.must(func(ctx context.Context, c *allreduce.Comm) error {
			x := make([]int64, length)
			for i := range x {
				x[i] = 1 << (8 * c.Rank())
			}
			want := int64(1 + 1<<16 + 1<<32)
			if c.Rank()%2 == 1 {
				want <<= 8
			}
			return within(halves, func(ctx context.Context, sub *allreduce.Comm) error {
				if err := sub.AllReduce(ctx, allreduce.Of(x), allreduce.Sum); err != nil {
					return err
				}
				if x[0] != want || x[length-1] != want {
					return fmt.Errorf("rank %d: %x, want %x", c.Rank(), x[0], want)
				}
				return nil
			})(ctx, c)
		})
	}
	g.must(reduce[float32](allreduce.Sum, 100)) // the others' ring is as before
}

// TestGroupCollectives runs every collective in two groups at once, while the
// ring of all is busy too.
func TestGroupCollectives(t *testing.T) {
	g := openChords(t, 6, ringtest.Options{FrameBytes: 1 << 10, Lanes: 2}, allreduce.Config{})
	r := rand.New(rand.NewPCG(3, 4))
	for name, draw := range tasks {
		both := []func(context.Context, *allreduce.Comm) error{draw(r, 3, 700), draw(r, 3, 700)}
		outer := draw(r, 6, 1500)
		g.must(func(ctx context.Context, c *allreduce.Comm) error {
			sub, err := c.Group(ctx, halves(c.Rank()))
			if err != nil {
				return err
			}
			defer sub.Close()
			inner := make(chan error, 1)
			go func() { inner <- both[c.Rank()%2](ctx, sub) }()
			if err := errors.Join(outer(ctx, c), <-inner); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			return sub.Barrier(ctx)
		})
	}
}

// TestSplit makes groups by colour, in the order of keys; rank 4 has none.
func TestSplit(t *testing.T) {
	g := open(t, 5, ringtest.Options{}, allreduce.Config{})
	g.must(func(ctx context.Context, c *allreduce.Comm) error {
		color := c.Rank() / 2 // 0 0 1 1 -1
		if c.Rank() == 4 {
			color = -1
		}
		sub, err := c.Split(ctx, color, -c.Rank())
		if c.Rank() == 4 {
			if !errors.Is(err, allreduce.ErrNotMember) {
				return fmt.Errorf("rank 4: %v", err)
			}
			return nil
		}
		if err != nil {
			return err
		}
		defer sub.Close()
		if sub.Rank() != 1-c.Rank()%2 || sub.Size() != 2 {
			return fmt.Errorf("rank %d is rank %d of %d", c.Rank(), sub.Rank(), sub.Size())
		}
		return sub.Barrier(ctx)
	})
}

// TestSplitFar: keys may be as far from each other as they like.
func TestSplitFar(t *testing.T) {
	keys := []int{math.MaxInt, 1, math.MinInt, -2} // by rank
	g := open(t, 4, ringtest.Options{}, allreduce.Config{})
	g.must(func(ctx context.Context, c *allreduce.Comm) error {
		sub, err := c.Split(ctx, 0, keys[c.Rank()])
		if err != nil {
			return err
		}
		defer sub.Close()
		if want := []int{3, 2, 0, 1}[c.Rank()]; sub.Rank() != want {
			return fmt.Errorf("key %d is rank %d, want %d", keys[c.Rank()], sub.Rank(), want)
		}
		return sub.Barrier(ctx)
	})
}

// TestGroupsOfGroups nests groups whose members overlap, and keeps all open.
func TestGroupsOfGroups(t *testing.T) {
	noLeaks(t)
	g := open(t, 4, ringtest.Options{}, allreduce.Config{})
	g.must(func(ctx context.Context, c *allreduce.Comm) error {
		var all []*allreduce.Comm
		for len(all) < 3 { // {0 1 2 3}, {0 1 2 3}, {3 2 1 0}
			sub, err := c.Group(ctx, []int{0, 1, 2, 3})
			if err != nil {
				return err
			}
			all, c = append(all, sub), sub
		}
		pair, err := c.Group(ctx, []int{c.Rank() &^ 1, c.Rank() | 1})
		if err != nil {
			return err
		}
		for _, sub := range append(all, pair) {
			x := []int32{1}
			if err := sub.AllReduce(ctx, allreduce.Of(x), allreduce.Sum); err != nil || int(x[0]) != sub.Size() {
				return fmt.Errorf("%d of %d: %w", x[0], sub.Size(), err)
			}
		}
		return nil // all are closed with the ring
	})
}

// TestGroupSenseless: calls that make no sense fail alike, and the Comm works on.
func TestGroupSenseless(t *testing.T) {
	for name, tt := range map[string]struct {
		ranks func(rank int) []int
		want  [3]error
	}{
		"no rank":     {func(int) []int { return []int{0, 3} }, [3]error{allreduce.ErrRank, allreduce.ErrRank, allreduce.ErrRank}},
		"negative":    {func(int) []int { return []int{-1} }, [3]error{allreduce.ErrRank, allreduce.ErrRank, allreduce.ErrRank}},
		"twice":       {func(int) []int { return []int{0, 1, 0} }, [3]error{allreduce.ErrRank, allreduce.ErrRank, allreduce.ErrRank}},
		"nobody":      {func(int) []int { return nil }, [3]error{allreduce.ErrNotMember, allreduce.ErrNotMember, allreduce.ErrNotMember}},
		"of others":   {func(rank int) []int { return []int{(rank + 1) % 3} }, [3]error{allreduce.ErrNotMember, allreduce.ErrNotMember, allreduce.ErrNotMember}},
		"one is out":  {func(int) []int { return []int{0, 2} }, [3]error{nil, allreduce.ErrNotMember, nil}},
		"overlapping": {func(rank int) []int { return [][]int{{0, 1}, {1, 2}, {1, 2}}[rank] }, [3]error{allreduce.ErrGroup, allreduce.ErrGroup, allreduce.ErrGroup}},
		"other order": {func(rank int) []int { return [][]int{{0, 1}, {1, 0}, nil}[rank] }, [3]error{allreduce.ErrGroup, allreduce.ErrGroup, allreduce.ErrGroup}},
		"alone":       {func(rank int) []int { return []int{rank} }, [3]error{}},
	} {
		g := open(t, 3, ringtest.Options{}, allreduce.Config{})
		texts := map[string]bool{}
		for rank, err := range g.each(within(tt.ranks, reduce[float32](allreduce.Sum, 10))) {
			if !errors.Is(err, tt.want[rank]) {
				t.Errorf("%s: rank %d: %v, want %v", name, rank, err, tt.want[rank])
			}
			if errors.Is(err, allreduce.ErrGroup) {
				texts[err.Error()] = true
			}
		}
		if len(texts) > 1 {
			t.Errorf("%s: ranks say different things: %v", name, texts)
		}
		g.must(reduce[float32](allreduce.Sum, 10))
		g.close()
	}
}

// TestGroupMismatch: members disagree within their group. Everybody learns it,
// also who is not in it.
func TestGroupMismatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := openChords(t, 6, ringtest.Options{Delay: time.Millisecond}, allreduce.Config{})
		for rank, err := range g.each(func(ctx context.Context, c *allreduce.Comm) error {
			sub, err := c.Group(ctx, halves(c.Rank()))
			if err != nil {
				return err
			}
			if c.Rank()%2 == 0 {
				return c.Barrier(ctx)
			}
			return sub.AllReduce(ctx, allreduce.Of(make([]float32, 10+c.Rank()/5)), allreduce.Sum)
		}) {
			if !errors.Is(err, allreduce.ErrMismatch) || !strings.Contains(err.Error(), "the sum of 10 float32") || !strings.Contains(err.Error(), "the sum of 11 float32") {
				t.Errorf("rank %d: %v", rank, err)
			}
		}
	})
}

// TestGroupDies: a peer dies that is in the other group. Both die with the ring.
func TestGroupDies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := open(t, 6, ringtest.Options{Delay: time.Millisecond}, allreduce.Config{})
		time.AfterFunc(50*time.Millisecond, func() { g.net.Kill("p1") })
		begin := time.Now()
		for rank, err := range g.each(within(halves, func(ctx context.Context, c *allreduce.Comm) error {
			for {
				if err := c.AllReduce(ctx, allreduce.Of(make([]float32, 1000)), allreduce.Sum); err != nil {
					return err
				}
			}
		})) {
			if !errors.Is(err, ring.ErrBroken) {
				t.Errorf("rank %d: %v", rank, err)
			}
		}
		if d := time.Since(begin); d > 200*time.Millisecond {
			t.Errorf("the last knew after %v", d)
		}
	})
}

// TestGroupNotJoined: a member does not come. Who gives up ends the epoch.
func TestGroupNotJoined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := open(t, 3, ringtest.Options{Delay: time.Millisecond}, allreduce.Config{})
		errs := g.each(func(ctx context.Context, c *allreduce.Comm) error {
			if c.Rank() == 2 {
				<-c.Done()
				return c.Err()
			}
			ctx, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			_, err := c.Group(ctx, []int{0, 2})
			return err
		})
		for rank, err := range errs {
			if !errors.Is(err, ring.ErrBroken) {
				t.Errorf("rank %d: %v", rank, err)
			}
		}
	})
}

// A shy transport opens no links of groups.
type shy struct{ ring.Transport }

func (s shy) Dial(ctx context.Context, e ring.Edge) (ring.Link, error) {
	if e.Lane < 81 {
		return s.Transport.Dial(ctx, e)
	}
	<-ctx.Done()
	return nil, context.Cause(ctx)
}

// TestGroupLeft: a member closes its Comm while the group is made. The others do
// not wait for it.
func TestGroupLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := ringtest.NewNet(ringtest.Options{})
		g := &group{TB: t, net: net}
		g.join(4, func(int) allreduce.Config { return allreduce.Config{} }, func(self string) ring.Transport {
			if self == "p2" {
				return shy{net.Transport(self)}
			}
			return net.Transport(self)
		})
		time.AfterFunc(10*time.Second, func() { g.comms[2].Close() })
		begin := time.Now()
		errs := g.each(within(func(int) []int { return []int{0, 2} }, reduce[float32](allreduce.Sum, 10)))
		for rank, err := range errs {
			if want := []error{ring.ErrBroken, allreduce.ErrNotMember}[rank%2]; !errors.Is(err, want) {
				t.Errorf("rank %d: %v, want %v", rank, err, want)
			}
		}
		if d := time.Since(begin); d > 11*time.Second {
			t.Errorf("they knew after %v", d)
		}
		if !strings.Contains(fmt.Sprint(errs[0]), "p2: closed") {
			t.Errorf("rank 0: %v, want an error about p2", errs[0])
		}
	})
}

// TestGroupGivenUp: a peer gives up a group while it still makes another one. No
// peer can withdraw alone, so all learn it.
func TestGroupGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := open(t, 3, ringtest.Options{}, allreduce.Config{})
		late := time.Minute
		first := make(chan error, 1)
		go func() {
			_, err := g.comms[1].Group(g.within(late), []int{0, 1})
			first <- err
		}()
		synctest.Wait() // it waits for what the others want
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		begin := time.Now()
		if _, err := g.comms[1].Group(ctx, []int{0, 1}); !errors.Is(err, ring.ErrBroken) || !errors.Is(err, context.Canceled) {
			t.Errorf("rank 1: %v, want a broken ring, canceled", err)
		}
		_, err := g.comms[0].Group(g.within(late), []int{0, 1})
		for rank, err := range []error{err, <-first} {
			if !errors.Is(err, ring.ErrBroken) {
				t.Errorf("rank %d: %v, want a broken ring", rank, err)
			}
		}
		if d := time.Since(begin); d > time.Second {
			t.Errorf("they knew after %v", d)
		}
	})
}

// TestManyGroups makes and closes more groups than there are lanes.
func TestManyGroups(t *testing.T) {
	g := open(t, 3, ringtest.Options{}, allreduce.Config{})
	g.must(func(ctx context.Context, c *allreduce.Comm) error {
		for i := range 100 {
			if err := within(func(int) []int { return []int{2, 0, 1} }, reduce[float32](allreduce.Sum, i))(ctx, c); err != nil {
				return err
			}
		}
		return nil
	})
	g.close()
	if n := g.net.Links(); n != 0 {
		t.Errorf("%d ends of links are left", n)
	}
}
