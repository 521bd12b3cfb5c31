package main

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/ringrun/ringrun/elastic/chaos"
)

// Await waits for a step, or for the end of all workers.
func (tr *troupe) Await(ctx context.Context, step uint64) error {
	err := tr.await(ctx, func() bool { return tr.audit.Steps() >= step || tr.over() })
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if err == nil && tr.audit.Steps() < step {
		return errProgramEnded
	}
	return err
}

// roster returns the peers of the view that were not struck, and how many workers
// run.
func (tr *troupe) roster() (view []int, living int) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	for _, i := range tr.view {
		if i < len(tr.actors) && !tr.actors[i].ended && tr.actors[i].struck == "" {
			view = append(view, i)
		}
	}
	for _, a := range tr.actors {
		if !a.ended {
			living++
		}
	}
	return view, living
}

var errGone = errors.New("it has ended already")

// Do lets a fault begin; see chaos.Stage.
func (tr *troupe) Do(f chaos.Fault) (undo func() error, err error) {
	tr.mu.Lock()
	tr.faults[f.Kind]++
	tr.mu.Unlock()
	switch f.Kind {
	case chaos.Join:
		for range f.Count {
			err = errors.Join(err, tr.start())
		}
		return nil, err
	case chaos.Cut:
		return tr.cut(f)
	}
	if f.Peer >= len(tr.actors) {
		return nil, fmt.Errorf("p%d has not been started", f.Peer)
	}
	a := tr.actors[f.Peer]
	switch f.Kind {
	case chaos.Kill:
		return nil, a.strike(tr, f.Kind, syscall.SIGKILL)
	case chaos.Drain:
		return nil, a.strike(tr, f.Kind, syscall.SIGTERM)
	case chaos.Stop:
		return a.thaw, a.freeze()
	case chaos.Slow:
		return a.slow(f.Delay), nil
	}
	return nil, fmt.Errorf("%s is not for processes", f.Kind)
}

func (tr *troupe) cut(f chaos.Fault) (undo func() error, err error) {
	heal, err := tr.apart.cut(f.Sides[0], f.Sides[1])
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.cuts++
	return func() error {
		tr.mu.Lock()
		tr.cuts--
		tr.mu.Unlock()
		return heal()
	}, err
}
