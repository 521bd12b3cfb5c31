package chaos

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// A Stage is a group of peers to which things can be done. A fault that cannot
// be, because its peer is gone, say, returns an error; the play goes on.
type Stage interface {
	// Await waits until so many steps are committed.
	Await(ctx context.Context, step uint64) error
	// Do lets a fault begin. What lasts goes on until undo is called, which is
	// nil for a fault that does not last.
	Do(f Fault) (undo func() error, err error)
}

// A Player lets faults happen, one after the other.
type Player struct {
	Stage Stage
	Say   func(format string, args ...any) // what happens, in lines

	undoing sync.WaitGroup
}

// Play lets each fault happen in turn, and returns when all are over, or ctx has
// ended: then what lasts has been undone.
func (p *Player) Play(ctx context.Context, faults []Fault) error {
	defer p.undoing.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for _, f := range faults {
		if err := p.One(ctx, f); err != nil {
			return err
		}
	}
	p.undoing.Wait()
	return nil
}

// One waits for the time of one fault, and lets it begin. Its error is that of
// the context, or of Await.
func (p *Player) One(ctx context.Context, f Fault) error {
	if err := sleep(ctx, f.After); err != nil {
		return err
	}
	if f.Step > 0 {
		if err := p.Stage.Await(ctx, f.Step); err != nil {
			return fmt.Errorf("chaos: waiting to %s: %w", f, err)
		}
	}
	if f.Kind == Wait {
		return sleep(ctx, f.For)
	}
	p.Say("%s", f)
	undo, err := p.Stage.Do(f)
	if err != nil {
		p.Say("%s: %v", f, err)
	}
	if undo == nil {
		return nil
	}
	p.undoing.Go(func() {
		_ = sleep(ctx, f.For) // undone early, if the play ends
		p.Say("over: %s", f)
		if err := undo(); err != nil {
			p.Say("%s is over: %v", f, err)
		}
	})
	return nil
}

// Wait waits until nothing lasts any more.
func (p *Player) Wait() { p.undoing.Wait() }

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return ctx.Err()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
