// Ringbench measures how fast peers on this machine all-reduce, and how well
// emulated training of known models scales.
//
//	ringbench allreduce -n 2 -sizes 4,1K,64K,1M,16M,64M
//	ringbench allgather -n 4 -sizes 1M; and all others that "ringbench help" names
//	ringbench select -n 4 -transport tcp
//	ringbench matrix -n 4
//	ringbench scale -n 1,2,4 -model resnet50,vgg16 -plot scale.svg
//	ringbench kernels
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/ringrun/ringrun/bench"
	"github.com/urfave/cli/v3"
)

func main() {
	if len(os.Args) == 2 && os.Args[1] == peerCommand {
		os.Exit(peer(nil))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args, os.Stdout, os.Stderr))
}

// peerCommand is how ringbench starts itself as one of the peers.
const peerCommand = "peer"

// orphanTimeout is how long a peer without launcher may take to end.
const orphanTimeout = 2 * time.Second

// peer is the whole life of a peer, and returns its exit status. Interrupts are
// for the launcher, which shares the terminal.
func peer(wrap func(bench.Comm) bench.Comm) int {
	signal.Ignore(os.Interrupt)
	exit := func() { time.AfterFunc(orphanTimeout, func() { os.Exit(1) }) }
	if bench.Serve(context.Background(), os.Stdin, os.Stdout, wrap, exit) != nil {
		return 1
	}
	return 0
}

// errWrong means that everything was measured, but results were wrong: the
// table has said which.
var errWrong = errors.New("wrong results; see the errors column")

// run is main without the process, and returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	p := &program{stdout: stdout, stderr: stderr, line: newStatusLine(stderr)}
	cmd := &cli.Command{
		Name:           "ringbench",
		Usage:          "measure all-reduce and emulated training on peers of this machine",
		Commands:       append(p.sweepCommands(), p.selectCommand(), p.matrixCommand(), p.scaleCommand(), p.versusCommand(), p.torchCommand(), p.kernelsCommand()),
		Writer:         stdout,
		ErrWriter:      stderr,
		ExitErrHandler: func(context.Context, *cli.Command, error) {}, // run does it
		Action: func(_ context.Context, c *cli.Command) error {
			if c.Args().Present() {
				return fmt.Errorf("no command %q; there are %s, select, matrix, scale, versus, versus-torch and kernels", c.Args().First(), strings.Join(bench.Collectives(), ", "))
			}
			return cli.ShowAppHelp(c)
		},
	}
	for _, c := range append(cmd.Commands, cmd) {
		c.OnUsageError = func(_ context.Context, _ *cli.Command, err error, _ bool) error { return err }
	}
	err := cmd.Run(ctx, args)
	p.line.clear()
	if errors.Is(err, context.Canceled) {
		err = errors.New("interrupted")
	}
	if err != nil {
		fmt.Fprintf(stderr, "ringbench: %v\n", err)
		return 1
	}
	return 0
}

// program is one run of ringbench.
type program struct {
	stdout, stderr io.Writer
	line           *statusLine
}

// launch runs a job on peers, each of which is this program again.
func (p *program) launch(ctx context.Context, peers int, f common, job bench.Job, report func(bench.Result)) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	return bench.Launch{
		Peers:     peers,
		Transport: f.transport,
		Codec:     f.codec,
		Hosts:     f.hosts,
		Netns:     f.netns,
		Job:       job,
		Command:   []string{self, peerCommand},
		Stderr:    p.line.above(p.stderr),
		Report:    report,
		Progress:  p.line.show,
	}.Run(ctx)
}
