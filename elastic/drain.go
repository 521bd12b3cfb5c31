package elastic

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"time"

	"github.com/ringrun/ringrun/membership"
	"go.uber.org/zap"
)

var (
	// ErrDrained reports that this peer has left the group between two steps, as
	// it was asked to. Run does not return it.
	ErrDrained = errors.New("elastic: drained")
	// ErrGrace reports that a peer was to leave between two steps, and that none
	// ended within Config.Grace.
	ErrGrace = errors.New("elastic: not drained in time")
	// ErrLeftOut reports that the others went on without this peer, which had
	// trained with them, and that they were gone when it came back.
	ErrLeftOut = errors.New("elastic: left out")
)

// Drain lets this peer leave the group between two steps: it finishes the step
// that it is in, the others go on from the next one without it, and nobody does
// anything twice. Shards ends, and Run returns nil. When all peers drain, they
// leave together and the run ends there. It returns at once, may be called from
// any goroutine, and again.
func (g *Group) Drain() { g.drainSet.Do(func() { close(g.drained) }) }

// Drained reports whether this peer has left the group before the run has ended, or
// come back to it only then: its state is not the one that the run ended with. It is
// for the goroutine that trains, when Shards has ended.
func (g *Group) Drained() bool { return g.left }

// Retries returns how many steps this peer had to reduce again, because a ring
// broke. It is for the goroutine that trains.
func (g *Group) Retries() uint64 { return g.retries }

// OnSignal returns a channel for Config.Drain that is closed when one of the
// signals comes. stop ends that; a second signal then does what it always did.
func OnSignal(signals ...os.Signal) (drain <-chan struct{}, stop func()) {
	ctx, stop := signal.NotifyContext(context.Background(), signals...)
	context.AfterFunc(ctx, stop)
	return ctx.Done(), stop
}

// heedDrain passes on Config.Drain, and ends a drain that takes too long.
func (g *Group) heedDrain(ctx context.Context, cancel context.CancelCauseFunc) {
	select {
	case <-g.cfg.Drain:
		g.Drain()
	case <-g.drained:
	case <-ctx.Done():
		return
	}
	late := time.NewTimer(g.cfg.Grace)
	defer late.Stop()
	select {
	case <-late.C:
		cancel(fmt.Errorf("%w: no step has ended within the grace of %v", ErrGrace, g.cfg.Grace))
	case <-ctx.Done():
	}
}

func (g *Group) draining() bool {
	select {
	case <-g.drained:
		return true
	default:
		return false
	}
}

// reportEnd tells how this peer ends, and returns what Run does.
func (g *Group) reportEnd(err error) error {
	g.clerk.flush()
	switch {
	case g.late != nil && (err == nil || errors.Is(err, ErrOver)):
		g.cfg.Logger.Warn("came back too late", zap.Uint64("steps", g.steps), zap.Error(g.late))
		g.report.over(g.id(), g.steps, g.late)
		return nil
	case g.left && (err == nil || errors.Is(err, ErrDrained)):
		g.report.drained(g.id(), g.steps, g.retries)
		return nil
	case err != nil && (g.strayed.Load() || errors.Is(err, membership.ErrStranded)) && !errors.Is(err, context.Canceled):
		err = fmt.Errorf("%w: %w", ErrLeftOut, err)
		g.report.late(g.id(), err)
	case err != nil:
		g.report.failed(g.id(), err)
	default:
		return g.reportDone()
	}
	return err
}

// reportDone tells with what this peer ends.
func (g *Group) reportDone() error {
	e := event{Event: "done", ID: g.id(), Steps: g.steps, Retries: g.retries}
	if g.final != nil {
		e.Group, e.Epoch = g.final.Group, g.final.Epoch
	}
	if g.cfg.ReportSteps {
		if err := g.weigh(); err != nil {
			return err
		}
		e.Sum = sumText(g.sum)
	}
	g.report.send(e)
	return nil
}
