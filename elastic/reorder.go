package elastic

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/ringrun/ringrun/allreduce"
	"github.com/ringrun/ringrun/membership"
	"github.com/ringrun/ringrun/ring"
	"go.uber.org/zap"
)

// Where there are three hosts or more, the order of the hosts in the ring matters:
// it is as fast as its slowest link. With Config.Order "measured" the peers measure
// the links between the first peers of all hosts when a generation begins whose
// hosts they have not measured. If another order is faster by a quarter at least,
// all prefer that, and choose the next view, in which it holds.

// errReorder ends a generation before it begins.
var errReorder = errors.New("elastic: another order of the ring is faster")

// worthwhile is how much faster a ring must be in another order.
const worthwhile = 1.25

// reorder returns errReorder if a next view is to follow at once. All peers come
// to the same result.
func (g *Group) reorder(ctx context.Context, gen *generation) error {
	hosts := g.session.hosts(gen.view)
	leaders, key := firsts(hosts)
	if g.cfg.Order != "measured" || g.cfg.Transport == "rtc" || len(leaders) < 3 {
		return nil
	}
	todo := []int32{0} // rank 0 decides: a newcomer cannot know what was measured
	if g.measured != key {
		todo[0] = 1
	}
	if err := gen.comm.Broadcast(ctx, allreduce.Of(todo), 0); err != nil {
		return err
	}
	g.measured = key
	if todo[0] == 0 {
		return nil
	}
	ways, err := g.cfg.measure(ctx, gen.comm, leaders)
	if err != nil {
		return err
	}
	order := ring.Order(ways)
	was, is := bottleneck(ways, nil), bottleneck(ways, order)
	g.cfg.Logger.Debug("links between hosts", zap.Float64("slowest, bytes per second", was), zap.Float64("in the best order", is))
	if is < worthwhile*was {
		return nil
	}
	g.session.node.Prefer(preferred(gen.view, hosts, leaders, order))
	if err := gen.comm.Barrier(ctx); err != nil { // nobody proposes before all prefer
		return err
	}
	return fmt.Errorf("%w: its slowest link carries %.3g MB/s instead of %.3g", errReorder, is/1e6, was/1e6)
}

// firsts returns the first rank of each host, and what names the hosts together.
func firsts(hosts []string) (leaders []int, key string) {
	var names []string
	for rank, h := range hosts {
		if !slices.Contains(names, h) {
			leaders, names = append(leaders, rank), append(names, h)
		}
	}
	slices.Sort(names)
	return leaders, fmt.Sprintf("%q", names)
}

// bottleneck returns the rate of the slowest link of a ring; nil is the order as it is.
func bottleneck(ways [][]ring.Way, order []int) float64 {
	n, least := len(ways), math.Inf(1)
	for i := range n {
		from, to := i, (i+1)%n
		if order != nil {
			from, to = order[from], order[to]
		}
		least = min(least, ways[from][to].Rate)
	}
	return least
}

// preferred returns the peers of a view, host by host.
func preferred(v membership.View, hosts []string, leaders, order []int) (ids []string) {
	for _, i := range order {
		for rank, h := range hosts {
			if h == hosts[leaders[i]] {
				ids = append(ids, v.Peers[rank].ID)
			}
		}
	}
	return ids
}
