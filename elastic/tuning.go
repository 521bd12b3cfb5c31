package elastic

import (
	"context"
	"fmt"
	"slices"

	"github.com/ringrun/ringrun/allreduce"
	"github.com/ringrun/ringrun/membership"
)

// tuning is what a peer knows of the time that collectives take. Measuring it
// takes a little while, and a generation may be short: so it is kept as long as
// the peers reach each other in the same ways. Rank 0, which is in the group
// longest, gives what it knows to the others.
type tuning struct {
	ways  string
	costs *allreduce.Costs
}

// tune settles by which algorithms the peers of a generation reduce.
func (g *Group) tune(ctx context.Context, gen *generation) error {
	ways := g.session.ways(gen.view)
	known := g.tuning.costs
	if g.tuning.ways != ways {
		known = nil
	}
	costs, err := gen.comm.Tune(ctx, known)
	if err == nil && costs != nil {
		g.tuning = tuning{ways, costs}
	}
	return err
}

// ways says how the neighbours in a view reach each other, and on how many hosts
// they are.
func (s *session) ways(v membership.View) string {
	var all []string
	for i, p := range v.Peers {
		m, err := s.book.find(p.ID)
		n, err2 := s.book.find(v.Peers[(i+1)%len(v.Peers)].ID)
		if err == nil && err2 == nil {
			all = append(all, m.between(n))
		}
	}
	slices.Sort(all)
	hosts := s.hosts(v)
	slices.Sort(hosts)
	return fmt.Sprint(slices.Compact(all), len(slices.Compact(hosts)))
}
