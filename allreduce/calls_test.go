package allreduce_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringrun/ringrun/allreduce"
	"github.com/ringrun/ringrun/allreduce/codec"
	"github.com/ringrun/ringrun/ring"
	"github.com/ringrun/ringrun/ring/ringtest"
)

// TestSenseless makes calls that make no sense. They fail with the error that
// says why, and the Comm works on.
func TestSenseless(t *testing.T) {
	f, i := allreduce.Of(make([]float32, 4)), allreduce.Of(make([]int32, 4))
	three := []allreduce.Vector{f, f, f}
	for name, tt := range map[string]struct {
		call func(ctx context.Context, c *allreduce.Comm) error
		want error
	}{
		"and of floats":     {func(ctx context.Context, c *allreduce.Comm) error { return c.AllReduce(ctx, f, allreduce.And) }, allreduce.ErrType},
		"or, started":       {func(ctx context.Context, c *allreduce.Comm) error { return c.Start(f, allreduce.Or).Wait(ctx) }, allreduce.ErrType},
		"no operation":      {func(ctx context.Context, c *allreduce.Comm) error { return c.AllReduce(ctx, i, 7) }, allreduce.ErrType},
		"no vector":         {func(ctx context.Context, c *allreduce.Comm) error { return c.AllReduce(ctx, allreduce.Vector{}, 0) }, allreduce.ErrType},
		"broadcast nothing": {func(ctx context.Context, c *allreduce.Comm) error { return c.Broadcast(ctx, allreduce.Vector{}, 0) }, allreduce.ErrType},
		"broadcast":         {func(ctx context.Context, c *allreduce.Comm) error { return c.Broadcast(ctx, f, 3) }, allreduce.ErrRank},
		"broadcast below":   {func(ctx context.Context, c *allreduce.Comm) error { return c.StartBroadcast(f, -1).Wait(ctx) }, allreduce.ErrRank},
		"reduce":            {func(ctx context.Context, c *allreduce.Comm) error { return c.Reduce(ctx, f, allreduce.Sum, 3) }, allreduce.ErrRank},
		"reduce bits":       {func(ctx context.Context, c *allreduce.Comm) error { return c.Reduce(ctx, f, allreduce.And, 0) }, allreduce.ErrType},
		"scatter":           {func(ctx context.Context, c *allreduce.Comm) error { return c.Scatter(ctx, f, nil, 3) }, allreduce.ErrRank},
		"scatter too much":  {func(ctx context.Context, c *allreduce.Comm) error { return c.Scatter(ctx, f, []int{1, 1, 3}, 0) }, allreduce.ErrParts},
		"gather too little": {func(ctx context.Context, c *allreduce.Comm) error { return c.GatherTo(ctx, f, []int{1, 1, 1}, 0) }, allreduce.ErrParts},
		"negative part":     {func(ctx context.Context, c *allreduce.Comm) error { return c.AllGather(ctx, f, []int{3, -1, 2}) }, allreduce.ErrParts},
		"huge parts": {func(ctx context.Context, c *allreduce.Comm) error {
			return c.AllGather(ctx, f, []int{math.MaxInt, math.MaxInt, 6})
		}, allreduce.ErrParts},
		"two parts": {func(ctx context.Context, c *allreduce.Comm) error {
			return c.ReduceScatter(ctx, f, allreduce.Sum, []int{2, 2})
		}, allreduce.ErrParts},
		"all-to-all of two": {func(ctx context.Context, c *allreduce.Comm) error { return c.AllToAll(ctx, three, three[:2]) }, allreduce.ErrParts},
		"all-to-all of types": {func(ctx context.Context, c *allreduce.Comm) error {
			return c.AllToAll(ctx, three, []allreduce.Vector{f, i, f})
		}, allreduce.ErrType},
		"fused types": {func(ctx context.Context, c *allreduce.Comm) error {
			return c.AllReduceAll(ctx, []allreduce.Vector{f, i}, 0)
		}, allreduce.ErrType},
		"scaled integers": {func(ctx context.Context, c *allreduce.Comm) error {
			return c.AllReduceScaled(ctx, i, 0, allreduce.Scale{})
		}, allreduce.ErrType},
		"weighted integers": {func(ctx context.Context, c *allreduce.Comm) error { return c.WeightedMean(ctx, i, 1) }, allreduce.ErrType},
		"no weight":         {func(ctx context.Context, c *allreduce.Comm) error { return c.WeightedMean(ctx, f, 0) }, allreduce.ErrWeight},
		"negative weight": {func(ctx context.Context, c *allreduce.Comm) error {
			return c.WeightedMean(ctx, f, float64(2-3*(c.Rank()%2)))
		}, allreduce.ErrWeight},
		"infinite weight": {func(ctx context.Context, c *allreduce.Comm) error { return c.WeightedMean(ctx, f, math.Inf(1)) }, allreduce.ErrWeight},
		"to nobody":       {func(ctx context.Context, c *allreduce.Comm) error { return c.Send(ctx, f, 3) }, allreduce.ErrRank},
		"to oneself":      {func(ctx context.Context, c *allreduce.Comm) error { return c.Send(ctx, f, c.Rank()) }, allreduce.ErrRank},
		"from oneself":    {func(ctx context.Context, c *allreduce.Comm) error { return c.Recv(ctx, f, c.Rank()) }, allreduce.ErrRank},
		"send nothing": {func(ctx context.Context, c *allreduce.Comm) error {
			return c.Send(ctx, allreduce.Vector{}, (c.Rank()+1)%3)
		}, allreduce.ErrType},
	} {
		g := open(t, 3, ringtest.Options{}, allreduce.Config{})
		for rank, err := range g.each(tt.call) {
			if !errors.Is(err, tt.want) {
				t.Errorf("%s: rank %d: %v, want %v", name, rank, err, tt.want)
			}
		}
		g.must(func(ctx context.Context, c *allreduce.Comm) error { return c.Barrier(ctx) })
		g.close()
	}
}

// TestBytes holds the collectives to send what their comments say: here every
// rank's bodies, in units of a part of 1200 bytes.
func TestBytes(t *testing.T) {
	const n, part = 4, 300
	x := func() allreduce.Vector { return allreduce.Of(make([]float32, n*part)) }
	blocks := func() (v []allreduce.Vector) {
		for range n {
			v = append(v, allreduce.Of(make([]float32, part)))
		}
		return v
	}
	for name, tt := range map[string]struct {
		call func(ctx context.Context, c *allreduce.Comm) error
		want [n]uint64
	}{
		"all-gather":     {func(ctx context.Context, c *allreduce.Comm) error { return c.AllGather(ctx, x(), nil) }, [n]uint64{3, 3, 3, 3}},
		"reduce-scatter": {func(ctx context.Context, c *allreduce.Comm) error { return c.ReduceScatter(ctx, x(), 0, nil) }, [n]uint64{3, 3, 3, 3}},
		"broadcast":      {func(ctx context.Context, c *allreduce.Comm) error { return c.Broadcast(ctx, x(), 1) }, [n]uint64{0, 4, 4, 4}},
		"reduce":         {func(ctx context.Context, c *allreduce.Comm) error { return c.Reduce(ctx, x(), 0, 1) }, [n]uint64{4, 0, 4, 4}},
		"scatter":        {func(ctx context.Context, c *allreduce.Comm) error { return c.Scatter(ctx, x(), nil, 1) }, [n]uint64{0, 3, 2, 1}},
		"gather to":      {func(ctx context.Context, c *allreduce.Comm) error { return c.GatherTo(ctx, x(), nil, 1) }, [n]uint64{3, 0, 1, 2}},
		"all-to-all":     {func(ctx context.Context, c *allreduce.Comm) error { return c.AllToAll(ctx, blocks(), blocks()) }, [n]uint64{6, 6, 6, 6}},
		"fused":          {func(ctx context.Context, c *allreduce.Comm) error { return c.AllReduceAll(ctx, blocks(), 0) }, [n]uint64{6, 6, 6, 6}},
		"message": {func(ctx context.Context, c *allreduce.Comm) error {
			switch c.Rank() {
			case 3:
				return c.Send(ctx, x(), 1)
			case 1:
				return c.Recv(ctx, x(), 3)
			}
			return nil
		}, [n]uint64{4, 0, 0, 4}},
	} {
		g := open(t, n, ringtest.Options{}, allreduce.Config{})
		g.must(tt.call)
		g.must(func(ctx context.Context, c *allreduce.Comm) error { return c.Barrier(ctx) })
		for rank, c := range g.comms {
			if got := c.Stats().SentBodies; got != 4*part*tt.want[rank] {
				t.Errorf("%s: rank %d sent %d bytes, want %d", name, rank, got, 4*part*tt.want[rank])
			}
		}
		g.close()
	}
}

// TestHalves holds a reduce-scatter and an all-gather to make the bits of an
// all-reduce.
func TestHalves(t *testing.T) {
	for _, n := range []int{2, 3, 5} {
		g := open(t, n, ringtest.Options{Lanes: 2}, allreduce.Config{})
		g.must(func(ctx context.Context, c *allreduce.Comm) error {
			x, y := random(20011, c.Rank()), random(20011, c.Rank())
			if err := c.AllReduce(ctx, allreduce.Of(x), allreduce.Mean); err != nil {
				return err
			}
			if err := c.ReduceScatter(ctx, allreduce.Of(y), allreduce.Mean, nil); err != nil {
				return err
			}
			lo, hi := c.Part(len(y))
			clear(y[:lo])
			clear(y[hi:])
			if err := c.AllGather(ctx, allreduce.Of(y), nil); err != nil {
				return err
			}
			if string(allreduce.Of(x).Bytes()) != string(allreduce.Of(y).Bytes()) {
				return errors.New("other bits than those of the all-reduce")
			}
			return nil
		})
		g.close()
	}
}

// TestLossyCollectives uses a codec that rounds: it is for what reduces, and
// leaves the others exact.
func TestLossyCollectives(t *testing.T) {
	const n, length = 3, 9001
	g := open(t, n, ringtest.Options{FrameBytes: 1000}, allreduce.Config{Codec: codec.Half{}})
	near := func(got, want float64) bool { return math.Abs(got-want) <= n*math.Abs(want)*0x1p-10+1e-3 }
	g.must(func(ctx context.Context, c *allreduce.Comm) error {
		x, y := make([]float64, length), make([]float64, length)
		for i := range x {
			x[i] = float64(i%1000) + 0.001
			y[i] = x[i]
		}
		for root := range n {
			if err := c.Broadcast(ctx, allreduce.Of(y), root); err != nil {
				return err
			}
		}
		if err := c.AllGather(ctx, allreduce.Of(y), nil); err != nil {
			return err
		}
		if err := same("exact", y, x); err != nil {
			return err
		}
		before := c.Stats().SentBodies
		if err := c.ReduceScatter(ctx, allreduce.Of(y), allreduce.Sum, nil); err != nil {
			return err
		}
		if sent := c.Stats().SentBodies - before; sent > 2*length*2/3+2000 {
			return fmt.Errorf("a reduce-scatter sent %d bytes", sent)
		}
		lo, hi := c.Part(length)
		for i := lo; i < hi; i++ {
			if !near(y[i], 3*x[i]) {
				return fmt.Errorf("element %d of the sum is %v, want %v", i, y[i], 3*x[i])
			}
		}
		copy(y, x)
		if err := c.Reduce(ctx, allreduce.Of(y), allreduce.Mean, 1); err != nil || c.Rank() != 1 {
			return err
		}
		for i := range y {
			if !near(y[i], x[i]) {
				return fmt.Errorf("element %d of the mean is %v, want %v", i, y[i], x[i])
			}
		}
		return nil
	})
}

// TestCancelWhileSending ends the context of a call that is itself sending, to
// a peer that takes nothing in.
func TestCancelWhileSending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := open(t, 2, ringtest.Options{Window: 1}, allreduce.Config{})
		g.net.Stall("p1")
		first := g.comms[0].Start(allreduce.Of(make([]float32, 10)), allreduce.Sum)
		synctest.Wait() // its frame fills the window
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		begin := time.Now()
		err := g.comms[0].AllReduce(ctx, allreduce.Of(make([]float32, 10)), allreduce.Sum)
		if d := time.Since(begin); !errors.Is(err, context.DeadlineExceeded) || d > 300*time.Millisecond {
			t.Errorf("after %v: %v", d, err)
		}
		if err := first.Wait(t.Context()); !errors.Is(err, ring.ErrBroken) {
			t.Error(err)
		}
	})
}
