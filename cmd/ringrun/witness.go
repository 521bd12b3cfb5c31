package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"net"
	"os"
	"strconv"

	"github.com/ringrun/ringrun/membership"
	"github.com/urfave/cli/v3"
	"go.uber.org/zap"
)

func witnessCommand() *cli.Command {
	return &cli.Command{
		Name: "witness", Usage: "vote in a run, without a model: on a third host, so that one of two goes on when the other is cut off",
		ArgsUsage: "ADDR",
		Flags: askFlags(
			&cli.IntFlag{Name: "port", Usage: "listen on this `PORT` (default: any)"},
			&cli.StringFlag{Name: "advertise", Usage: "the others reach this machine at `HOST` (default: the address that routes to ADDR)"},
		),
		Action: runWitness,
	}
}

// runWitness votes in the run that has a peer at an address until its peers have
// left, or a signal ends it.
func runWitness(ctx context.Context, c *cli.Command) error {
	if c.NArg() == 0 {
		return usagef("witness: which ADDR has a peer of the run?")
	}
	addrs, err := parseAddrs(c.Args().First())
	if err != nil {
		return usagef("witness %s: %w", c.Args().First(), err)
	}
	cred, err := findCredential(options{secretFile: c.String("secret-file"), join: addrs}, os.Getenv("RINGRUN_SECRET"), openRecords())
	if err != nil {
		return err
	}
	ctx, _ = catchSignals(ctx)
	out := newPrinter(os.Stdout, os.Stderr)
	host, err := os.Hostname()
	if err != nil {
		host = "somewhere"
	}
	out.note("witness of the run at %s: it votes and does nothing else", addrs[0])
	err = membership.Witness(ctx, membership.Config{
		ID: witnessID(host), Run: cred.run(), Secret: cred.secret, Join: addrs,
		Bind:      net.JoinHostPort(bindAddress(nil, hostsOf(addrs)), strconv.Itoa(c.Int("port"))),
		Advertise: c.String("advertise"), Logger: zap.NewNop(),
	})
	if err == nil {
		out.note("the run has ended, or this witness was asked to leave")
	}
	return err
}

// witnessID is never used again: in a container the number of the process would
// be, after a restart that has forgotten what was promised before.
func witnessID(host string) string {
	random := make([]byte, 4)
	rand.Read(random) // never fails: see its documentation
	return "witness-" + host + "-" + hex.EncodeToString(random)
}
