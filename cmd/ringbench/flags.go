package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/ringrun/ringrun/allreduce"
	"github.com/ringrun/ringrun/bench"
	"github.com/urfave/cli/v3"
)

// maxPeers is more than any one machine can want, and less than its undoing.
const maxPeers = 256

// linkFlags say between whom something is measured, and how it is told.
func linkFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "transport", Value: "auto", Usage: "how peers talk: auto, shm, tcp or rtc"},
		&cli.IntFlag{Name: "hosts", Usage: "let the peers take it that they are on so many hosts"},
		&cli.StringFlag{Name: "netns", Usage: "namespaces of the network in which the peers are, in equal shares: `NAME=ADDRESS,…`"},
		&cli.BoolFlag{Name: "json", Usage: "print one JSON object a line instead of a table"},
	}
}

func commonFlags() []cli.Flag {
	return append(linkFlags(),
		&cli.StringFlag{Name: "codec", Value: "raw", Usage: "how elements are sent: raw, half or zstd"},
		&cli.IntFlag{Name: "rounds", Value: 3, Usage: "how often to measure"},
	)
}

func plotFlag() cli.Flag {
	return &cli.StringFlag{Name: "plot", Usage: "also draw `FILE`, an .svg or .png"}
}

// memoryFlag says where the vectors of a sweep are.
func memoryFlag() cli.Flag {
	return &cli.StringFlag{Name: "memory", Value: "heap", Usage: "where vectors are: heap, or arena: memory that peers of one host share, see elastic.Group.Alloc"}
}

// common is what these flags say; zero what a command does not have.
type common struct {
	transport, codec, plot string
	hosts, rounds          int
	netns                  []bench.Netns
	json                   bool
}

func parseCommon(c *cli.Command) (common, error) {
	f, err := parseLinks(c)
	if err != nil {
		return f, err
	}
	f.codec, f.rounds, f.plot = c.String("codec"), c.Int("rounds"), c.String("plot")
	if err := oneOf("codec", f.codec, "raw", "half", "zstd"); err != nil {
		return f, err
	}
	if f.rounds < 1 || f.rounds > 1000 {
		return f, fmt.Errorf("-rounds: %d, want 1 to 1000", f.rounds)
	}
	if f.plot != "" {
		if err := bench.CheckPlotFile(f.plot); err != nil {
			return f, fmt.Errorf("-plot: %w", err)
		}
	}
	return f, nil
}

func parseLinks(c *cli.Command) (f common, err error) {
	if c.Args().Present() {
		return f, fmt.Errorf("argument %q, want only flags", c.Args().First())
	}
	f = common{transport: c.String("transport"), json: c.Bool("json")}
	if err := oneOf("transport", f.transport, "auto", "shm", "tcp", "rtc"); err != nil {
		return f, err
	}
	if f.netns, err = parseNetns(c.String("netns")); err != nil {
		return f, err
	}
	if f.hosts = c.Int("hosts"); f.hosts < 0 || f.hosts > maxPeers {
		return f, fmt.Errorf("-hosts: %d, want 1 to %d", f.hosts, maxPeers)
	}
	return f, nil
}

// parseNetns reads a list of namespaces and addresses.
func parseNetns(list string) (all []bench.Netns, err error) {
	if list == "" {
		return nil, nil
	}
	for _, s := range strings.Split(list, ",") {
		name, addr, ok := strings.Cut(strings.TrimSpace(s), "=")
		if _, err := netip.ParseAddr(addr); !ok || name == "" || err != nil {
			return nil, fmt.Errorf("-netns: %q, want a name, = and an address", s)
		}
		all = append(all, bench.Netns{Name: name, Addr: addr})
	}
	return all, nil
}

func oneOf(flag, value string, want ...string) error {
	if !slices.Contains(want, value) {
		return fmt.Errorf("-%s: %q, want one of %s", flag, value, strings.Join(want, ", "))
	}
	return nil
}

// pick returns the one of all that goes by the name.
func pick[T fmt.Stringer](flag, name string, all ...T) (T, error) {
	var names []string
	for _, x := range all {
		if x.String() == name {
			return x, nil
		}
		names = append(names, x.String())
	}
	var none T
	return none, oneOf(flag, name, names...)
}

func parseType(name string) (allreduce.Type, error) {
	return pick("type", name, allreduce.Types()...)
}

func parseOp(name string) (allreduce.Op, error) {
	return pick("op", name, allreduce.Sum, allreduce.Mean, allreduce.Min, allreduce.Max, allreduce.Product, allreduce.And, allreduce.Or)
}

// parsePeers reads a list of numbers of peers, and sorts it.
func parsePeers(list string) ([]int, error) {
	var sizes []int
	for _, s := range strings.Split(list, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(s))
		if err != nil || n < 1 || n > maxPeers {
			return nil, fmt.Errorf("-n: %q, want 1 to %d peers", s, maxPeers)
		}
		sizes = append(sizes, n)
	}
	slices.Sort(sizes)
	return slices.Compact(sizes), nil
}

// parseSizes reads a list of sizes that hold whole elements.
func parseSizes(list string, t allreduce.Type) ([]int, error) {
	var sizes []int
	for _, s := range strings.Split(list, ",") {
		bytes, err := bench.ParseSize(s)
		if err != nil {
			return nil, fmt.Errorf("-sizes: %w", err)
		}
		if bytes%t.Size() != 0 {
			return nil, fmt.Errorf("-sizes: %s is no multiple of %d bytes, the size of a %v", strings.TrimSpace(s), t.Size(), t)
		}
		sizes = append(sizes, bytes)
	}
	return sizes, nil
}
