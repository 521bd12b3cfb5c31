package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v3"
)

const helpHead = `ringrun starts peers that train together: on this machine, on other machines,
or as newcomers to a run that is under way.

  ringrun [options] PROG [arguments of PROG]

PROG is a program, or Go code that is built first: a folder with a main package,
or a .go file. Options stand before PROG; all that follows it belongs to PROG.

Examples:
  ringrun -n 4 ./cmd/mnist -epochs 3         four peers on this machine
  ringrun -H a:2,b:2 ./cmd/mnist             two peers each on the hosts a and b
  ringrun -join 127.0.0.1:41234 ./cmd/mnist  one more peer for the run that listens there
  ringrun -n 4 -codec half ./cmd/mnist       gradients travel as 16-bit floats

Options:
`

const helpTail = `
Commands, for the run that has a peer at ADDR; without ADDR, the only one here:
  ringrun status [ADDR]        tells how it goes: every peer, its steps, what it does
  ringrun top [ADDR]           the same, live: the ring, rates, who waits for whom
  ringrun ui [ADDR]            the same in the browser, with charts
  ringrun stacks PEER [ADDR]   prints what every goroutine of a peer does
  ringrun logs [-f] [ADDR]     prints what the peers write, if -output or -detach keeps it
  ringrun trace [ADDR]         records a timeline of all peers for chrome://tracing
  ringrun ticket [ADDR]        prints one word with which others can join, from anywhere
  ringrun stop [ADDR]          asks all peers to end, and kills those that do not
  ringrun drain PEER… [-at ADDR]
                               lets peers leave between two steps; the others go on
  ringrun witness ADDR         votes in it, from a third host: see -on-partition
Others:
  ringrun autopsy [RUN|FOLDER|ADDR]
                               tells why a run ended, or what happened to it
  ringrun doctor [-H HOSTS]    tells what would keep a run from working, here or there
  ringrun plan -n 64 …         predicts how long a step takes, and what would help
  ringrun audit FILE…          says whether every sample was used exactly once
  ringrun chaos PROG           lets faults happen to a run, and checks its promises
  ringrun kubernetes -n N -image IMAGE PROG
                               prints a manifest for kubectl: a pod for each peer
  ringrun man                  prints the manual page
  ringrun completion SHELL     prints what makes bash, zsh, fish or pwsh complete options

Each line of output begins with the number of its worker; lines of ringrun itself
begin with "ringrun:". Ctrl-C is passed on to the workers; a second one, or -grace,
kills them. SIGTERM lets them leave between two steps. A worker that dies does not end the run:
the others go on, and -restart says how often another takes its place.

Exit status: 0 if every worker that was not killed returned 0, and at least -min-n
of them did; 2 for a mistake on the command line; 128 and the signal's number if
a signal ended ringrun, but 0 if that was SIGTERM and all workers have left between
two steps; 1 otherwise.
`

func newCommand() *cli.Command {
	progIsFirst := 1
	flags := optionFlags()
	onMistake := func(_ context.Context, _ *cli.Command, err error, _ bool) error { return usageError{err} }
	all := &cli.Command{
		Name:                          "ringrun",
		Usage:                         "start peers that train together",
		UsageText:                     "ringrun [options] PROG [arguments of PROG]",
		Flags:                         flags,
		StopOnNthArg:                  &progIsFirst,
		HideHelpCommand:               true,
		EnableShellCompletion:         true,
		CustomRootCommandHelpTemplate: helpHead + helpFlags(flags) + helpTail,
		OnUsageError:                  onMistake,
		ExitErrHandler:                func(context.Context, *cli.Command, error) {}, // exitCode does that
		Action:                        launch,
		Commands: []*cli.Command{
			statusCommand(),
			topCommand(),
			uiCommand(),
			stacksCommand(),
			logsCommand(),
			traceCommand(),
			ticketCommand(),
			stopCommand(),
			drainCommand(),
			witnessCommand(),
			doctorCommand(),
			autopsyCommand(),
			planCommand(),
			auditCommand(),
			chaosCommand(),
			kubernetesCommand(),
			manual(),
			{Name: "_agent", Hidden: true, Action: func(_ context.Context, c *cli.Command) error {
				defer useCached(c.Args().Slice())()
				return runAgent()
			}},
			{Name: "_unpack", Hidden: true, Action: func(context.Context, *cli.Command) error { return runUnpack() }},
			{Name: "_prune", Hidden: true, Action: func(_ context.Context, c *cli.Command) error {
				return pruneCache(c.Args().First(), time.Now(), 0, 0)
			}},
			{Name: "_guard", Hidden: true, Action: func(context.Context, *cli.Command) error { return runGuard() }},
			{Name: "_gate", Hidden: true, SkipFlagParsing: true, Action: func(_ context.Context, c *cli.Command) error {
				return runGate(c.Args().Slice())
			}},
		},
	}
	for _, c := range all.Commands {
		c.OnUsageError = onMistake
	}
	return all
}

// optionFlags are those of ringrun itself. Its commands have their own, and do not
// take these for theirs.
func optionFlags() []cli.Flag {
	flags := append([]cli.Flag{
		&cli.IntFlag{Name: "n", Usage: "start `N` workers (default: one, or one per slot of -H)"},
		&cli.StringFlag{Name: "H", Usage: "start them on these `HOSTS`: name:slots,… by the system's ssh, without a password; " +
			"[address]:slots for IPv6; localhost and this host's own name need no ssh (default: the nodes of the Slurm job we are in, " +
			"by srun; else this host)"},
		&cli.StringFlag{Name: "hostfile", Usage: "the hosts are in this `FILE`, one a line: name:slots, or name slots=N"},
		&cli.StringFlag{Name: "hosts-from", Usage: "the hosts are what this `SCRIPT`, for a shell, prints, as in a hostfile; it is asked every two seconds: " +
			"workers start on hosts and slots that are added, up to -max-n, and leave those that are not"},
		&cli.StringFlag{Name: "cache", Usage: "other hosts keep ringrun and PROG in this `DIR` (default: ~/.cache/ringrun there)"},
		&cli.StringFlag{Name: "network", Usage: "peers reach each other by these `NETWORKS`: 10.1.0.0/16, or names of interfaces (default: " +
			"each host by the address that all others reach)"},
		&cli.StringFlag{Name: "join", Usage: "join the run that has a peer at `ADDR` (host:port), or that a ticket is for, instead of founding one"},
		&cli.StringFlag{Name: "transport", Value: "auto", Usage: "how gradients travel: `auto|shm|tcp|rtc` (shared memory on one host, TCP between hosts; or WebRTC data channels)"},
		&cli.StringFlag{Name: "tls", Value: "auto", Usage: "which TCP links are encrypted: `auto|always|never` (auto: those between hosts)"},
		&cli.StringFlag{Name: "codec", Value: "raw", Usage: "how they are written: `raw|half|zstd` (as they are, 16-bit floats, compressed)"},
		&cli.IntFlag{Name: "min-n", Value: 1, Usage: "with fewer than `N` peers the run waits, and then fails"},
		&cli.DurationFlag{Name: "elastic-timeout", Value: time.Minute, Usage: "it waits this `TIME` for as many as -min-n"},
		&cli.DurationFlag{Name: "start-timeout", Value: defaultStartWait, Usage: "a worker must have called elastic.Run in this `TIME`: what it does before counts (0: it may take for ever)"},
		&cli.IntFlag{Name: "max-n", Usage: "the run never has more than `N` peers: who else would join is turned away (default: any number)"},
		&cli.StringFlag{Name: "restart", Value: "3", Usage: "a worker that dies is started again, as a newcomer to the run, `N` times in a short while; or never"},
		&cli.IntFlag{Name: "port", Usage: "the founder listens on this `PORT` (default: any)"},
		&cli.DurationFlag{Name: "silence", Value: time.Second, Usage: "a neighbour that is silent for this `TIME` is lost"},
		&cli.StringFlag{Name: "output", Usage: "keep what each worker writes in files in this `DIR` on its host"},
		&cli.StringFlag{Name: "ui", Usage: "a worker serves a page that shows the run at this `ADDR`: a port of its own machine, or host:port; see also ringrun ui"},
		&cli.StringFlag{Name: "metrics", Usage: "the workers of each host serve /metrics for Prometheus at this `ADDR`, a port or host:port, and the ports after it, to whoever asks"},
		&cli.BoolFlag{Name: "detach", Usage: "end ringrun when the group has come together; the workers go on"},
		&cli.DurationFlag{Name: "grace", Value: 5 * time.Second, Usage: "workers that are to end, by a signal, may take this `TIME`: to finish a step, and leave"},
		&cli.DurationFlag{Name: "lease", Value: defaultLease, Usage: "another host and this launcher that have not heard of each other for this `TIME`, because one is cut off " +
			"or has lost power, give up: its workers end, or are counted as lost; not with -detach"},
		&cli.StringFlag{Name: "batch-policy", Value: "constant", Usage: "when peers come and go: `constant|scale` (the batch of all of them stays, or of each)"},
		&cli.StringFlag{Name: "on-divergence", Value: "heal", Usage: "if peers hold different bits: `heal|stop` (the few get the state of the many, or the run ends)"},
		&cli.StringFlag{Name: "audit", Usage: "add to this `FILE` what each step consumed; ringrun audit FILE checks it"},
		&cli.StringFlag{Name: "on-partition", Value: "pause", Usage: "when so many peers are silent, and not proven dead, that the others are no majority: " +
			"`pause|stop|prefer=ID` (they wait; they end; of two halves, the one with that peer goes on)"},
		&cli.StringFlag{Name: "log", Value: "warn", Usage: "what workers log of their group: `debug|info|warn`"},
		&cli.StringFlag{Name: "log-format", Value: "console", Usage: "how they write that, and ringrun its own lines: `console|json`; json makes every line an object"},
		&cli.StringFlag{Name: "config", Usage: "options and program are in this YAML `FILE`; the command line counts more"},
		&cli.StringFlag{Name: "secret-file", Usage: "the run's secret is in this `FILE`, at least 16 bytes (default: RINGRUN_SECRET, " +
			"in hex; else a fresh one, which later -join of the same user on this machine find by themselves)"},
	}, append(checkpointFlags(), traceFlags()...)...)
	for _, f := range flags {
		switch f := f.(type) {
		case *cli.StringFlag:
			f.Local = true
		case *cli.IntFlag:
			f.Local = true
		case *cli.BoolFlag:
			f.Local = true
		case *cli.DurationFlag:
			f.Local = true
		default:
			panic(fmt.Sprintf("option %v of type %T", f.Names(), f))
		}
	}
	return flags
}

// helpFlags lists the flags as they are written here: with one dash.
func helpFlags(flags []cli.Flag) string {
	const column, width = 22, 80
	var b strings.Builder
	for _, f := range flags {
		value, usage := flagHelp(f)
		line := fmt.Sprintf("  %-*s", column-2, "-"+f.Names()[0]+" "+value)
		for _, word := range strings.Fields(usage) {
			if len([]rune(line))+1+len([]rune(word)) > width {
				b.WriteString(line + "\n")
				line = strings.Repeat(" ", column)
			}
			line += " " + word
		}
		b.WriteString(line + "\n")
	}
	return b.String()
}

// flagHelp returns what stands for the value of a flag, and what it is good for.
func flagHelp(f cli.Flag) (value, usage string) {
	doc := f.(cli.DocGenerationFlag)
	usage = doc.GetUsage()
	_, value, _ = strings.Cut(usage, "`")
	value, _, _ = strings.Cut(value, "`")
	usage = strings.ReplaceAll(usage, "`", "")
	if v := doc.GetValue(); v != "" && v != "0" && v != "false" {
		usage += fmt.Sprintf(" (default: %s)", strings.Trim(v, `"`))
	}
	return value, usage
}

// programArgs are the arguments from PROG on. The parser swallows a "--" that
// follows PROG, but it is PROG's.
func programArgs(parsed, raw []string) []string {
	if tail := len(raw) - len(parsed) - 1; len(parsed) > 0 && tail >= 0 &&
		raw[tail] == parsed[0] && raw[tail+1] == "--" && slices.Equal(raw[tail+2:], parsed[1:]) {
		return raw[tail:]
	}
	return parsed
}
