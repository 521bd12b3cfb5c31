package allreduce

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/ringrun/ringrun/ring"
)

// Ways measures what the links between some of the peers carry, given by their
// ranks, and returns it alike on all peers; for ring.Order, say. Every peer calls
// it with the same ranks, at the same place among the collectives. Pairs take turns,
// each for some tens of milliseconds over a link of its own, so that it is known
// what a link could carry that the ring does not have; rates are those of both
// directions at once, as a ring uses them.
func (c *Comm) Ways(ctx context.Context, among []int) ([][]ring.Way, error) {
	n := len(among)
	ways := make([][]ring.Way, n)
	for i := range ways {
		ways[i] = make([]ring.Way, n)
	}
	var mine []byte // of the pairs whose first this peer is
	for i := range n {
		for j := i + 1; j < n; j++ {
			way, err := c.way(ctx, among[i], among[j])
			if err != nil {
				return nil, err
			}
			if among[i] == c.rank {
				for _, x := range []float64{float64(i), float64(j), way.Rate, way.Latency} {
					mine = binary.LittleEndian.AppendUint64(mine, math.Float64bits(x))
				}
			}
		}
	}
	all, err := c.Gather(ctx, mine)
	if err != nil {
		return nil, err
	}
	for b := slices.Concat(all...); len(b) >= 32; b = b[32:] {
		var x [4]float64
		for k := range x {
			x[k] = math.Float64frombits(binary.LittleEndian.Uint64(b[8*k:]))
		}
		i, j := int(x[0]), int(x[1])
		if i < 0 || j < 0 || i >= n || j >= n {
			return nil, fmt.Errorf("%w: the way from %d to %d of %d", ErrGroup, i, j, n)
		}
		ways[i][j] = ring.Way{Rate: x[2], Latency: x[3]}
		ways[j][i] = ways[i][j]
	}
	return ways, nil
}

// way measures one pair. The others take part in making its group.
func (c *Comm) way(ctx context.Context, a, b int) (ring.Way, error) {
	pair, err := c.Group(ctx, []int{a, b})
	if errors.Is(err, ErrNotMember) {
		return ring.Way{}, nil
	}
	if err != nil {
		return ring.Way{}, err
	}
	defer pair.Close()
	return pair.measureWay(ctx)
}

const (
	firstWay = 64 << 10 // bytes that go each way at first
	mostWay  = 8 << 20
	wayTime  = 30 * time.Millisecond
)

// measureWay measures the link between two peers. The longer it would take, the
// less is sent.
func (c *Comm) measureWay(ctx context.Context) (way ring.Way, err error) {
	tiny, err := c.swaps(ctx, 4, 9)
	if err != nil {
		return way, err
	}
	first, err := c.swaps(ctx, firstWay, 3)
	if err != nil {
		return way, err
	}
	size := []int32{int32(max(firstWay, min(mostWay, firstWay*float64(wayTime)/float64(first))))}
	if err := c.Broadcast(ctx, Of(size), 0); err != nil {
		return way, err
	}
	took, err := c.swaps(ctx, int(size[0]), 3)
	if err != nil {
		return way, err
	}
	return ring.Way{Rate: float64(size[0]) / took.Seconds(), Latency: tiny.Seconds()}, nil
}

// swaps returns the median time in which both send so many bytes to each other.
func (c *Comm) swaps(ctx context.Context, bytes, times int) (time.Duration, error) {
	x := newVector(Uint8, 2*bytes)
	var all []time.Duration
	for range times + 1 {
		begin := time.Now()
		w, err := c.allGather(x, nil)
		if err == nil {
			w.algorithm = Ring // over the link, also where memory is shared
		}
		if err := c.runIf(ctx, w, err); err != nil {
			return 0, err
		}
		all = append(all, time.Since(begin))
	}
	all = all[1:] // who comes first waits for the other
	slices.Sort(all)
	return max(all[len(all)/2], 1), nil
}
