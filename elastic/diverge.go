package elastic

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.uber.org/zap"
)

// ErrDiverged reports that peers held different bits where all must hold the same.
var ErrDiverged = errors.New("elastic: peers have diverged")

// A DivergedError says what differed. It wraps ErrDiverged.
type DivergedError struct {
	Step  uint64   // the first step after which a difference was seen
	Part  string   // of what was reduced in it or of the state after it; see Check
	Peers []string // who differs: from most of the others, or from each other
	Most  bool     // most of the peers agree, and so are right
}

func (e *DivergedError) Error() string {
	who, verb := strings.Join(e.Peers, ", "), "differs"
	if len(e.Peers) > 1 {
		verb = "differ"
	}
	if e.Most {
		return fmt.Sprintf("%v: %s of %s %s from that of the others after step %d", ErrDiverged, e.Part, who, verb, e.Step)
	}
	return fmt.Sprintf("%v: %s of %s %s after step %d, and no majority says which is right", ErrDiverged, e.Part, who, verb, e.Step)
}

func (e *DivergedError) Unwrap() error { return ErrDiverged }

// diverged returns nil if the peers that have done the same steps together hold
// the same.
func diverged(all []status, source int, mine []footprint) *DivergedError {
	equals := slices.DeleteFunc(slices.Clone(all), func(s status) bool {
		return !s.Shared || s.Steps != all[source].Steps
	})
	e := firstDifference(equals, mine)
	odd, most := minority(equals, func(s status) (uint64, bool) { return s.Sum, true })
	switch {
	case len(odd) == 0 && e == nil:
		return nil
	case e == nil:
		return &DivergedError{Step: all[source].Steps, Part: "state", Peers: odd, Most: most}
	case len(odd) > 0:
		e.Most = most // it counts who is right now
	}
	return e
}

// firstDifference looks for the first part in which the footprints of peers
// differ. mine gives the parts their names.
func firstDifference(all []status, mine []footprint) *DivergedError {
	if len(all) == 0 {
		return nil
	}
	reduced := func(f *footprint) ([]uint64, []string) { return f.Reduced, f.reducedParts }
	state := func(f *footprint) ([]uint64, []string) { return f.State, f.stateParts }
	for _, f := range all[0].Trail {
		for _, kind := range []func(*footprint) ([]uint64, []string){reduced, state} {
			hashes, _ := kind(&f)
			for i := range hashes {
				odd, most := minority(all, func(s status) (uint64, bool) {
					hashes, _ := kind(find(s.Trail, f.Step))
					if len(hashes) <= i {
						return 0, false
					}
					return hashes[i], true
				})
				if len(odd) == 0 {
					continue
				}
				part := fmt.Sprintf("part %d", i)
				if _, parts := kind(find(mine, f.Step)); i < len(parts) {
					part = parts[i]
				}
				return &DivergedError{Step: f.Step, Part: part, Peers: odd, Most: most}
			}
		}
	}
	return nil
}

// find returns an empty footprint if there is none of the step.
func find(trail []footprint, step uint64) *footprint {
	i := slices.IndexFunc(trail, func(f footprint) bool { return f.Step == step })
	if i < 0 {
		return &footprint{}
	}
	return &trail[i]
}

// minority returns who does not have the value that more than half of those who
// have one have. If there is none such, it returns all who have one.
func minority(all []status, value func(status) (uint64, bool)) (odd []string, most bool) {
	votes := make(map[uint64]int)
	n := 0
	for _, s := range all {
		if v, ok := value(s); ok {
			votes[v]++
			n++
		}
	}
	if len(votes) < 2 {
		return nil, true
	}
	for _, s := range all {
		v, ok := value(s)
		if ok && 2*votes[v] > n {
			most = true
		} else if ok {
			odd = append(odd, s.ID)
		}
	}
	return odd, most
}

// heal names peers that have diverged. Unless they are to stop the run, or nobody
// can tell who is right, they will now get the state of the others.
func (g *Group) heal(ctx context.Context, gen *generation, all []status, p plan) error {
	e := diverged(all, p.Source, g.verifier.trail)
	if e == nil {
		return nil
	}
	g.report.diverged(g.id(), g.steps, e)
	if !e.Most || g.cfg.OnDivergence == "stop" {
		part(ctx, gen.comm)
		return e
	}
	g.cfg.Logger.Warn("peers get the state of the others", zap.Strings("peers", e.Peers), zap.Error(e))
	return nil
}
