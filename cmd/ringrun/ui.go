package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"syscall"

	"github.com/ringrun/ringrun/elastic/web"
	"github.com/urfave/cli/v3"
)

// uiPort spells RING on a telephone.
const uiPort = "7464"

func uiCommand() *cli.Command {
	return &cli.Command{
		Name: "ui", Usage: "show a run in the browser: the ring, how fast it goes, what happens", ArgsUsage: "[ADDR]",
		Flags: askFlags(&cli.StringFlag{Name: "listen", Usage: "serve the page at this `ADDR`: a port, which is for this machine alone, or host:port " +
			"(default: port " + uiPort + ", or any other)"}),
		Action: func(ctx context.Context, c *cli.Command) error {
			listen, err := parseListen(c.String("listen"))
			if err != nil {
				return usagef("-listen %s: %w", c.String("listen"), err)
			}
			a, err := newAsker(c, c.Args().First())
			if err != nil {
				return err
			}
			ctx, _ = catchSignals(ctx)
			return a.serve(ctx, listen, newPrinter(os.Stdout, os.Stderr))
		},
	}
}

// parseListen reads where to listen: a port stands for one that only this
// machine reaches.
func parseListen(s string) (string, error) {
	if s == "" {
		return "", nil
	}
	if _, err := strconv.Atoi(s); err == nil {
		s = ":" + s
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return "", fmt.Errorf("want a port, or host:port")
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", fmt.Errorf("%q is not a port", port)
	}
	if host == "" {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port), nil
}

// serve shows the run until ctx ends. The peers may all change meanwhile.
func (a *asker) serve(ctx context.Context, listen string, out *printer) error {
	if _, err := a.first(ctx); err != nil { // wrong secrets and addresses are named here
		return err
	}
	l, err := listenForPage(listen)
	if err != nil {
		return err
	}
	cfg := web.Config{Client: a.client, Seeds: func() []string { return append([]string{a.addr}, a.others...) }}
	at := url.URL{Scheme: "http", Host: l.Addr().String(), Path: "/"}
	if tcp := l.Addr().(*net.TCPAddr); !tcp.IP.IsLoopback() {
		token := make([]byte, 16)
		rand.Read(token) // never fails: see its documentation
		cfg.Token = hex.EncodeToString(token)
		at.RawQuery = "token=" + cfg.Token
		if tcp.IP.IsUnspecified() {
			name, _ := os.Hostname()
			at.Host = net.JoinHostPort(name, strconv.Itoa(tcp.Port))
		}
	}
	s := web.New(cfg)
	defer s.Close()
	defer context.AfterFunc(ctx, s.Close)()
	out.note("see %s", at.String())
	if err := s.Serve(l); err != nil {
		return err
	}
	if sig, ok := context.Cause(ctx).(interrupted); ok && syscall.Signal(sig) != syscall.SIGINT {
		return exitStatus(128 + int(sig))
	}
	return nil
}

func listenForPage(listen string) (net.Listener, error) {
	if listen != "" {
		return net.Listen("tcp", listen)
	}
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", uiPort))
	if err != nil {
		l, err = net.Listen("tcp", "127.0.0.1:0")
	}
	return l, err
}

// watchEnv tells a worker where it is to be watched from outside. The page is
// served on the first host alone, by one of its workers; each slot has metrics of
// its own, at the ports that follow the one given.
func (j *job) watchEnv(s *slot) []string {
	var env []string
	if o := j.opts; o.ui != "" && s.site == j.sites[0] {
		env = append(env, "RINGRUN_UI="+o.ui)
	}
	if j.opts.metrics != "" {
		host, port, _ := net.SplitHostPort(j.opts.metrics) // it was parsed
		n, _ := strconv.Atoi(port)
		env = append(env, "RINGRUN_METRICS="+net.JoinHostPort(host, strconv.Itoa(n+s.local)))
	}
	return env
}

// metricsFit reports whether there are ports enough for all workers.
func (o *options) metricsFit() bool {
	_, port, err := net.SplitHostPort(o.metrics)
	n, _ := strconv.Atoi(port)
	return err == nil && n+o.n-1 <= 1<<16-1
}

// tellPage says once where the page is; after the worker that served it is gone,
// another serves it at the same place.
func (j *job) tellPage(p *peer, at string) {
	if j.page != at {
		j.page = at
		j.out.note("see %s%s", at, p.fromAfar(at))
	}
}

// tellMetrics says once where those of the first worker of each host are.
func (j *job) tellMetrics(p *peer, at string) {
	if s := p.slot.site; p.slot.local == 0 && s.metrics != at {
		s.metrics = at
		more := ""
		if len(s.slots) > 1 {
			more = ", those of its other workers at the ports that follow"
		}
		j.out.note("metrics of host %s: %s%s%s", s.host.name, at, more, p.fromAfar(at))
	}
}

// fromAfar tells how to come to what only the host of a worker reaches.
func (p *peer) fromAfar(at string) string {
	u, err := url.Parse(at)
	if err != nil || p.conn.host.local {
		return ""
	}
	if ip := net.ParseIP(u.Hostname()); ip == nil || !ip.IsLoopback() {
		return ""
	}
	return fmt.Sprintf(" on host %s; from here: ssh -L %[2]s:localhost:%[2]s %[1]s", p.conn.host.name, u.Port())
}
