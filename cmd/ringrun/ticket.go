package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/ringrun/ringrun/membership"
	"github.com/urfave/cli/v3"
)

func ticketCommand() *cli.Command {
	return &cli.Command{
		Name: "ticket", Usage: "print one word with which others can join a run", ArgsUsage: "[ADDR]",
		Flags: askFlags(&cli.DurationFlag{Name: "for", Value: 24 * time.Hour, Usage: "it is good for this `TIME`"}),
		Action: func(ctx context.Context, c *cli.Command) error {
			a, err := newAsker(c, c.Args().First())
			if err != nil {
				return err
			}
			first, err := a.first(ctx)
			if err != nil {
				return err
			}
			addrs := []string{a.addr}
			for _, p := range first.Peers {
				if !slices.Contains(addrs, p.Addr) && len(addrs) < ticketAddrs {
					addrs = append(addrs, p.Addr)
				}
			}
			t := membership.NewTicket(a.cred.secret, a.cred.run(), addrs, time.Now().Add(c.Duration("for")))
			fmt.Println(t)
			fmt.Fprintf(os.Stderr, "ringrun: good until %s for: ringrun -join TICKET PROG\n", t.Expires.Format(time.DateTime))
			return nil
		},
	}
}

// ticketAddrs is how many peers a ticket names: one of them should be there.
const ticketAddrs = 4

// ticketEnv hands a ticket from the command line, where everybody on this host
// can read it, to the same program without it.
const ticketEnv = "RINGRUN_TICKET"

// hideTicket starts this program anew if there is a ticket among its arguments
// before PROG. It returns only if there is none, or with an error.
func hideTicket(args []string) error {
	for i, a := range args {
		if i == 0 || !strings.Contains(a, membership.TicketPrefix) {
			continue
		}
		name, ticket, ok := strings.Cut(a, "=")
		hidden := slices.Clone(args)
		switch {
		case ok && strings.Trim(name, "-") == "join":
			hidden[i] = name + "=" + ticketEnv
		case strings.Trim(args[i-1], "-") == "join":
			ticket, hidden[i] = a, ticketEnv
		default:
			continue
		}
		self, err := os.Executable()
		if err != nil {
			return fmt.Errorf("find ringrun itself: %w", err)
		}
		env := append(os.Environ(), ticketEnv+"="+ticket)
		return fmt.Errorf("start anew without the ticket in sight: %w", syscall.Exec(self, hidden, env))
	}
	return nil
}

// redeem exchanges the ticket for the secret and the address of a peer.
func (o *options) redeem(ctx context.Context) (credential, error) {
	t, err := membership.ParseTicket(os.Getenv(ticketEnv))
	if err != nil {
		return credential{}, fmt.Errorf("-join: %w", err)
	}
	secret, addr, err := t.Redeem(ctx)
	if err != nil {
		return credential{}, fmt.Errorf("-join: %w", err)
	}
	o.join = []string{addr}
	return credential{secret: secret}, nil
}
