package elastic

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// errTooFew ends a run that has lost too many peers, and not got them back.
var errTooFew = errors.New("elastic: too few peers left")

// tooFew reports whether the peers of a generation may not train because others
// are missing. At the end of the run nobody is.
func (g *Group) tooFew(gen *generation) bool {
	if len(gen.view.Peers) >= g.cfg.MinSize || g.finishing {
		g.few = time.Time{}
		return false
	}
	return true
}

// awaitMore returns when there is another generation, and fails when there were
// too few peers for Config.MinWait. This peer holds the one it has lightly: it is
// not in use, so the next one need not wait for a step to end.
func (g *Group) awaitMore(ctx context.Context, gen *generation) error {
	if g.few.IsZero() {
		g.few = time.Now()
	}
	if g.cfg.MinWait > 0 {
		g.report.few(g.id(), gen.view, g.cfg.MinSize)
	}
	late := time.NewTimer(g.cfg.MinWait - time.Since(g.few))
	defer late.Stop()
	for {
		g.mu.Lock()
		now, err, changed := g.now, g.err, g.changed
		g.mu.Unlock()
		if err != nil || now != gen || gen.comm.Err() != nil {
			return nil // await says more
		}
		select {
		case <-changed:
		case <-gen.comm.Done():
		case <-g.drained:
			return ErrDrained // there is no step to finish
		case <-late.C:
			if g.cfg.MinWait == 0 {
				return fmt.Errorf("%w: %d, at least %d wanted", errTooFew, len(gen.view.Peers), g.cfg.MinSize)
			}
			return fmt.Errorf("%w: %d, at least %d wanted, for %v", errTooFew, len(gen.view.Peers), g.cfg.MinSize, g.cfg.MinWait)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
