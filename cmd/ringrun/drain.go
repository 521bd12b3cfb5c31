package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/ringrun/ringrun/elastic"
	"github.com/urfave/cli/v3"
)

func drainCommand() *cli.Command {
	return &cli.Command{
		Name: "drain", Usage: "let peers leave between two steps; the others go on without a step done twice", ArgsUsage: "PEER…",
		Flags: askFlags(
			&cli.StringFlag{Name: "at", Usage: "the run is the one that has a peer at this `ADDR` (default: the only one here)"},
			&cli.StringFlag{Name: "all-on", Usage: "all peers on this `HOST`, instead of PEER"},
			&cli.DurationFlag{Name: "grace", Value: 30 * time.Second, Usage: "how long to wait until they have left"}),
		Action: func(ctx context.Context, c *cli.Command) error {
			if (c.NArg() == 0) == !c.IsSet("all-on") {
				return usagef("drain: which PEER, or -all-on which HOST?")
			}
			a, err := newAsker(c, c.String("at"))
			if err != nil {
				return err
			}
			ctx, _ = catchSignals(ctx)
			leavers, err := a.leavers(ctx, c.Args().Slice(), c.String("all-on"))
			if err != nil {
				return err
			}
			return a.drain(ctx, newPrinter(os.Stdout, os.Stderr), leavers, c.Duration("grace"))
		},
	}
}

// leavers finds the peers that are named, or those on a host.
func (a *asker) leavers(ctx context.Context, names []string, host string) ([]elastic.StatusPeer, error) {
	var found []elastic.StatusPeer
	for _, name := range names {
		p, err := a.find(ctx, name)
		if err != nil {
			return nil, err
		}
		found = append(found, p)
	}
	if host == "" {
		return found, nil
	}
	answers, err := a.all(ctx)
	if err != nil {
		return nil, err
	}
	var hosts []string
	for _, an := range answers {
		short, _, _ := strings.Cut(an.Host, ".")
		if an.err == nil && (strings.EqualFold(an.Host, host) || strings.EqualFold(short, host)) {
			found = append(found, an.peer)
		}
		hosts = append(hosts, an.Host)
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("no peer is on host %s; they are on %s", host, strings.Join(hosts, ", "))
	}
	return found, nil
}

// drain asks peers to leave, and waits until they have.
func (a *asker) drain(ctx context.Context, out *printer, peers []elastic.StatusPeer, grace time.Duration) error {
	for _, p := range peers {
		if err := a.post(ctx, p.Addr, "/drain"); err != nil {
			return fmt.Errorf("peer %s at %s: %w", p.ID, p.Addr, plain(err))
		}
	}
	left, err := a.awaitEnd(ctx, peers, grace)
	if err != nil {
		return err
	}
	for _, p := range left {
		out.note("%s has not left within %v", p.ID, grace)
	}
	if len(left) > 0 {
		return exitStatus(1)
	}
	out.note("%s left", count(len(peers), "peer"))
	return nil
}
