package main

import (
	"net"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ringrun/ringrun/cmd/ringrun/paths"
	"github.com/urfave/cli/v3"
)

// options is the command line, checked.
type options struct {
	n          int
	hosts      []host // where workers run; each has at least one
	hostsFrom  string // a script that tells the hosts; "": they do not change
	found      []host // all hosts that it has told first
	place      []int  // worker to index in hosts
	join       []string
	transport  string
	tls        string
	codec      string
	minN       int
	maxN       int // 0: any number
	minWait    time.Duration
	startWait  time.Duration // for a worker to call elastic.Run; 0: any
	restart    int           // how often a place may have lost its worker; 0: never start another
	port       int
	silence    time.Duration
	grace      time.Duration
	lease      time.Duration
	batch      string // policy
	diverged   string // what then
	audit      string // file
	log        string
	logFormat  string
	output     string
	trace      traceOptions
	ui         string // address
	metrics    string // likewise, of the first worker of a host
	detach     bool
	partition  string // what to do then
	secretFile string
	ticket     bool // join is in a ticket
	network    paths.Filter
	cache      string // folder for copies on other hosts
	checkpoint checkpoints
	step       *slurmStep // this launcher runs one of its tasks; nil: no such thing
	prog       string
	args       []string
}

func parseOptions(c *cli.Command, raw []string) (options, error) {
	file, err := readConfig(c)
	if err != nil {
		return options{}, err
	}
	args := programArgs(c.Args().Slice(), raw)
	if len(args) == 0 && file.Program != "" {
		args = append([]string{file.Program}, file.Args...)
	}
	o := options{
		n:          c.Int("n"),
		transport:  c.String("transport"),
		tls:        c.String("tls"),
		codec:      c.String("codec"),
		hostsFrom:  c.String("hosts-from"),
		minN:       c.Int("min-n"),
		maxN:       c.Int("max-n"),
		minWait:    c.Duration("elastic-timeout"),
		startWait:  c.Duration("start-timeout"),
		port:       c.Int("port"),
		silence:    c.Duration("silence"),
		grace:      c.Duration("grace"),
		lease:      c.Duration("lease"),
		batch:      c.String("batch-policy"),
		diverged:   c.String("on-divergence"),
		audit:      c.String("audit"),
		log:        c.String("log"),
		logFormat:  c.String("log-format"),
		output:     c.String("output"),
		detach:     c.Bool("detach"),
		partition:  c.String("on-partition"),
		secretFile: c.String("secret-file"),
		cache:      c.String("cache"),
	}
	if c.IsSet("n") && o.n < 1 {
		return o, usagef("-n %d: at least 1 worker is needed", o.n)
	}
	if o.restart, err = parseRestart(c.String("restart")); err != nil {
		return o, err
	}
	if err := o.parsePlaces(c); err != nil {
		return o, err
	}
	if o.ui, err = parseListen(c.String("ui")); err != nil {
		return o, usagef("-ui %s: %w", c.String("ui"), err)
	}
	if o.metrics, err = parseListen(c.String("metrics")); err != nil {
		return o, usagef("-metrics %s: %w", c.String("metrics"), err)
	}
	if c.IsSet("network") {
		if o.network, err = paths.ParseFilter(c.String("network")); err != nil {
			return o, usagef("-network %s: %w", c.String("network"), err)
		}
	}
	if o.checkpoint, err = parseCheckpoints(c); err != nil {
		return o, err
	}
	if o.trace, err = parseTrace(c); err != nil {
		return o, err
	}
	if err := o.validate(); err != nil {
		return o, err
	}
	if o.detach && o.output == "" {
		o.output = defaultOutput
	}
	if len(args) == 0 || args[0] == "" {
		return o, usagef("no PROG: which program shall the workers run?")
	}
	o.prog, o.args = args[0], args[1:]
	return o, nil
}

func (o *options) parsePlaces(c *cli.Command) error {
	var err error
	if o.hosts, err = findHosts(c, os.Getenv); err != nil {
		return err
	}
	if len(o.hosts) == 0 && !c.IsSet("join") {
		if o.step, err = findStep(os.Getenv); err != nil {
			return err
		}
	}
	if o.step != nil && c.IsSet("n") {
		return usagef("-n %d: srun has started %d tasks already, one worker each", o.n, o.step.size)
	}
	if o.ticket = c.String("join") == ticketEnv; o.ticket {
		o.join = []string{ticketEnv} // until it is redeemed
	} else if c.IsSet("join") {
		if o.join, err = parseAddrs(c.String("join")); err != nil {
			return usagef("-join %s: %w", c.String("join"), err)
		}
	}
	if o.hostsFrom != "" {
		return nil // the script is asked later
	}
	if len(o.hosts) == 0 {
		o.n = max(o.n, 1)
		o.hosts = []host{{name: "localhost", slots: o.n, local: true}}
	}
	if o.place, err = placeWorkers(o.hosts, o.n); err != nil {
		return usagef("-n %d: %w", o.n, err)
	}
	o.n = len(o.place)
	o.hosts = o.hosts[:o.place[o.n-1]+1]
	return nil
}

// findHosts returns the hosts that the command line names, or those of the Slurm
// allocation we are in; none means this one.
func findHosts(c *cli.Command, getenv func(string) string) ([]host, error) {
	list, file := c.String("H"), c.String("hostfile")
	switch {
	case c.IsSet("hosts-from") && (c.IsSet("H") || c.IsSet("hostfile")):
		return nil, usagef("-hosts-from, and -H or -hostfile: which of the two?")
	case c.IsSet("hosts-from"):
		return nil, nil
	case c.IsSet("join") && !c.IsSet("H") && !c.IsSet("hostfile"):
		return nil, nil
	case c.IsSet("H") && c.IsSet("hostfile"):
		return nil, usagef("-H and -hostfile: which of the two?")
	case c.IsSet("H") && list == "":
		return nil, usagef("-H: no host is named")
	case c.IsSet("H"):
		hosts, err := parseHosts(list)
		if err != nil {
			return nil, usagef("-H %s: %w", list, err)
		}
		return hosts, nil
	case c.IsSet("hostfile"):
		hosts, err := readHostFile(file)
		if err != nil {
			return nil, usagef("-hostfile %s: %w", file, err)
		}
		return hosts, nil
	}
	return slurmHosts(getenv)
}

func (o *options) validate() error {
	for _, f := range []struct {
		name, value string
		allowed     []string
	}{
		{"transport", o.transport, []string{"auto", "shm", "tcp", "rtc"}},
		{"tls", o.tls, []string{"auto", "always", "never"}},
		{"codec", o.codec, []string{"raw", "half", "zstd"}},
		{"log", o.log, []string{"debug", "info", "warn"}},
		{"log-format", o.logFormat, []string{"console", "json"}},
		{"batch-policy", o.batch, []string{"constant", "scale"}},
		{"on-divergence", o.diverged, []string{"heal", "stop"}},
	} {
		if !slices.Contains(f.allowed, f.value) {
			return usagef("-%s %s: want %s", f.name, f.value, strings.Join(f.allowed, ", "))
		}
	}
	total := o.n
	if o.step != nil {
		total = o.step.size
	}
	if o.hostsFrom != "" && total == 0 { // not known yet
		total = o.minN
	}
	switch {
	case o.hostsFrom != "" && o.detach:
		return usagef("-hosts-from %s: the launcher asks it, and with -detach there is none", o.hostsFrom)
	case o.step != nil && o.detach:
		return usagef("-detach: Slurm ends what a task of a step leaves behind; sbatch lets the job go on without this terminal")
	case o.minN < 1 || o.minN > total:
		return usagef("-min-n %d: want 1 to %d, the number of workers", o.minN, total)
	case o.maxN < 0 || o.maxN > 0 && o.maxN < total:
		return usagef("-max-n %d: want at least %d, the number of workers", o.maxN, total)
	case o.maxN > 0 && len(o.join) > 0:
		return usagef("-max-n %d: the founder of the run has said how many peers it may have", o.maxN)
	case o.minWait < 0:
		return usagef("-elastic-timeout %v: want 0 or more", o.minWait)
	case o.startWait != 0 && o.startWait < time.Second:
		return usagef("-start-timeout %v: want at least 1s, or 0 to wait for ever", o.startWait)
	case o.port < 0 || o.port > 65535:
		return usagef("-port %d: want 1 to 65535", o.port)
	case o.port != 0 && len(o.join) > 0:
		return usagef("-port %d: only a founder has a fixed port; with -join there is none", o.port)
	case o.metrics != "" && !o.metricsFit():
		return usagef("-metrics %s: %d workers need as many ports from there on", o.metrics, o.n)
	case o.cache != "" && !path.IsAbs(o.cache):
		return usagef("-cache %s: want a path that begins with /", o.cache)
	case o.grace < 100*time.Millisecond:
		return usagef("-grace %v: want at least 100ms", o.grace)
	case o.lease < 2*time.Second:
		return usagef("-lease %v: want at least 2s", o.lease)
	case o.audit != "" && o.detach:
		return usagef("-audit %s: the launcher writes it, and with -detach there is none", o.audit)
	case o.partition != "pause" && o.partition != "stop" && (!strings.HasPrefix(o.partition, "prefer=") || o.partition == "prefer="):
		return usagef("-on-partition %s: want pause, stop or prefer=ID, such as prefer=p0", o.partition)
	case o.silence < 10*time.Millisecond:
		return usagef("-silence %v: want at least 10ms", o.silence)
	}
	return nil
}

func parseAddrs(list string) ([]string, error) {
	var addrs []string
	for a := range strings.SplitSeq(list, ",") {
		h, p, err := net.SplitHostPort(a)
		if err != nil || h == "" {
			return nil, usagef("%q is not host:port", a)
		}
		if port, err := strconv.ParseUint(p, 10, 16); err != nil || port == 0 {
			return nil, usagef("%q is not a port", p)
		}
		addrs = append(addrs, a)
	}
	return addrs, nil
}
