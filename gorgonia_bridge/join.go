package bridge

import (
	"context"
	"errors"

	"gorgonia.org/gorgonia"

	"github.com/ringrun/ringrun/elastic"
)

// Join is for a program that has its loop in main and is to change as little as
// can be: it joins the group that the launcher describes in the environment, and
// attaches the parameters. Without a launcher that is a group of one. leave ends
// it; the program calls it once, with the error that the loop ended with, when
// that is over, and gets the one to end with.
//
//	b, leave, err := bridge.Join(ctx, params)
//	…
//	vm := gorgonia.NewTapeMachine(graph, b.VM())
//	solver := b.Solver(gorgonia.NewAdamSolver())
//	for batch := range batches { // each peer its own (see Group), as many as the others
//		…
//	}
//	err = leave(nil)
func Join(ctx context.Context, params gorgonia.Nodes, opts ...Option) (b *Bridge, leave func(error) error, err error) {
	cfg, err := elastic.FromEnv()
	if err != nil {
		return nil, nil, err
	}
	return join(ctx, cfg, params, opts...)
}

func join(ctx context.Context, cfg elastic.Config, params gorgonia.Nodes, opts ...Option) (*Bridge, func(error) error, error) {
	joined := make(chan *elastic.Group)
	loop := make(chan error, 1)  // what the loop ended with
	ended := make(chan error, 1) // what Run did
	go func() {
		ended <- elastic.Run(ctx, cfg, func(_ context.Context, g *elastic.Group) error {
			joined <- g
			return <-loop
		})
	}()
	leave := func(err error) error {
		loop <- err
		return <-ended
	}
	select {
	case err := <-ended:
		return nil, nil, err
	case g := <-joined:
		b, err := Attach(g, params, opts...)
		if err != nil {
			return nil, nil, errors.Join(err, dropSame(leave(err), err))
		}
		b.joined, b.together = g, func() error { return g.Sync(ctx) }
		return b, leave, nil
	}
}

// dropSame returns err unless it says no more than what is known.
func dropSame(err, known error) error {
	if errors.Is(err, known) {
		return nil
	}
	return err
}

// Group returns the group of a Bridge that was made by Join, or nil.
func (b *Bridge) Group() *elastic.Group { return b.joined }
