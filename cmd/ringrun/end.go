package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/ringrun/ringrun/elastic"
	"github.com/urfave/cli/v3"
)

func stopCommand() *cli.Command {
	return &cli.Command{
		Name: "stop", Usage: "ask all peers of a run to end, and kill those that do not", ArgsUsage: "[ADDR]",
		Flags: askFlags(&cli.DurationFlag{Name: "grace", Value: 30 * time.Second, Usage: "kill peers that are still there after this `TIME`"}),
		Action: func(ctx context.Context, c *cli.Command) error {
			a, err := newAsker(c, c.Args().First())
			if err != nil {
				return err
			}
			ctx, _ = catchSignals(ctx)
			return a.stop(ctx, newPrinter(os.Stdout, os.Stderr), c.Duration("grace"))
		},
	}
}

// stopCheck is how often stop asks who is left.
const stopCheck = 200 * time.Millisecond

// stop ends the run, however its peers may feel about it.
func (a *asker) stop(ctx context.Context, out *printer, grace time.Duration) error {
	first, err := a.first(ctx)
	if err != nil && !errors.Is(err, elastic.ErrJoining) {
		return err
	}
	left := first.Peers
	if len(left) == 0 { // it has no view yet
		left = []elastic.StatusPeer{{ID: first.ID, Addr: a.addr}}
	}
	out.note("asking %s to end", count(len(left), "peer"))
	for _, path := range []string{"/end", "/end?kill=1"} {
		a.each(left, func(p elastic.StatusPeer) bool { return a.post(ctx, p.Addr, path) == nil })
		if left, err = a.awaitEnd(ctx, left, grace); err != nil || len(left) == 0 {
			return err
		}
		grace = killGrace
		if path == "/end" {
			out.note("killing %s", count(len(left), "peer"))
		}
	}
	return fmt.Errorf("%s cannot be killed, or cannot be reached", count(len(left), "peer"))
}

// awaitEnd waits until no peer listens any more, and returns those that do when
// the grace is over.
func (a *asker) awaitEnd(ctx context.Context, peers []elastic.StatusPeer, grace time.Duration) ([]elastic.StatusPeer, error) {
	over := time.NewTimer(grace)
	defer over.Stop()
	check := time.NewTicker(stopCheck)
	defer check.Stop()
	for {
		peers = a.each(peers, func(p elastic.StatusPeer) bool {
			_, err := a.status(ctx, p.Addr)
			return !errors.Is(err, syscall.ECONNREFUSED)
		})
		if len(peers) == 0 {
			return nil, nil
		}
		select {
		case <-check.C:
		case <-over.C:
			return peers, nil
		case <-ctx.Done():
			return peers, context.Cause(ctx)
		}
	}
}

// each asks all at once and returns those for which the answer is yes.
func (a *asker) each(peers []elastic.StatusPeer, yes func(elastic.StatusPeer) bool) []elastic.StatusPeer {
	said := make([]bool, len(peers))
	var asking sync.WaitGroup
	for i, p := range peers {
		asking.Go(func() { said[i] = yes(p) })
	}
	asking.Wait()
	i := -1
	return slices.DeleteFunc(slices.Clone(peers), func(elastic.StatusPeer) bool { i++; return !said[i] })
}

func (a *asker) post(ctx context.Context, addr, path string) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+addr+path, nil)
	if err != nil {
		return err
	}
	resp, err := a.client.Do(req)
	if err != nil {
		return err
	}
	if resp.StatusCode >= 300 {
		err = errors.New(resp.Status)
	}
	return errors.Join(err, resp.Body.Close())
}
