package main

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"

	"github.com/urfave/cli/v3"
)

func logsCommand() *cli.Command {
	return &cli.Command{
		Name: "logs", Usage: "print what the peers write, if -output or -detach keeps it", ArgsUsage: "[ADDR]",
		Flags: askFlags(&cli.BoolFlag{Name: "f", Usage: "follow: print what comes, until Ctrl-C or the end of the run"}),
		Action: func(ctx context.Context, c *cli.Command) error {
			a, err := newAsker(c, c.Args().First())
			if err != nil {
				return err
			}
			ctx, _ = catchSignals(ctx)
			return a.logs(ctx, newPrinter(os.Stdout, os.Stderr), c.Bool("f"))
		},
	}
}

// logs prints the output of all peers, one after another, or mixed while it
// follows them.
func (a *asker) logs(ctx context.Context, out *printer, follow bool) error {
	first, err := a.first(ctx)
	if err != nil {
		return err
	}
	path := "/output"
	if follow {
		path += "?follow=1"
	}
	errs := make([]error, len(first.Peers))
	var reading sync.WaitGroup
	for i, p := range first.Peers {
		read := func() {
			r, w := io.Pipe()
			go func() { w.CloseWithError(a.copy(ctx, w, p.Addr, path)) }()
			eachLine(r, func(line []byte) { out.line(i, false, line) })
			_, errs[i] = r.Read(nil)
		}
		if reading.Go(read); !follow {
			reading.Wait()
		}
	}
	reading.Wait()
	if ctx.Err() != nil {
		return nil
	}
	for i, err := range errs {
		if err == io.EOF || follow && errors.Is(err, io.ErrUnexpectedEOF) { // the peer has ended
			errs[i] = nil
		}
	}
	return errors.Join(errs...)
}
