// Package elastic trains on a group of peers that may change at any moment.
//
// Run joins the group and calls the training function once. Inside, two calls
// matter: Shards deals out the samples of each step, and Commit reduces and
// applies a step:
//
//	elastic.Run(ctx, cfg, func(ctx context.Context, g *elastic.Group) error {
//		g.SetState(model)
//		for shard, err := range g.Shards(ctx, samples) {
//			if err != nil {
//				return err
//			}
//			… compute a gradient from shard.Samples …
//			if shard.Last {
//				_, err = g.Commit(ctx, reduce, apply)
//			}
//		}
//	})
//
// A generation is the life of one view: view, ring, shared state, steps. When a
// link breaks or the view changes, the generation ends and the next one begins;
// why it ended never matters. All of that happens inside Shards and Commit, so
// the loop does not notice. A step that was interrupted is finished by those who
// are left, with the gradients they still hold.
package elastic

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/ringrun/ringrun/allreduce"
	"github.com/ringrun/ringrun/allreduce/codec"
	"github.com/ringrun/ringrun/membership"
	"github.com/ringrun/ringrun/ring"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// Config says which group to join, and how its peers talk.
type Config struct {
	Membership membership.Config
	Transport  string        // "auto" (default: shared memory on one host, else TCP), "shm", "tcp" or "rtc"
	Batch      string        // "constant" (default): Samples.Batch is of all peers together; "scale": of each; the same on all peers
	Trace      bool          // keep what is traced from the first step on, for who asks in the first half minute
	Codec      string        // "raw" (default), "half" or "zstd"; the same on all peers
	Host       string        // the host that this peer is on; default: what the kernel says of boot and namespaces
	Size       int           // peers to wait for before the first step; default 1
	TLS        string        // which TCP links are encrypted: "auto" (default: those between hosts), "always" or "never"; the same on all peers
	MinSize    int           // with fewer peers than this nobody trains; default 1
	MinWait    time.Duration // and when that has lasted so long, Run ends; default 0: at once
	Silence    time.Duration // a neighbour that is silent so long is lost; default 1 s
	Logger     *zap.Logger   // default: none
	Report     io.Writer     // one JSON object a line on every change, for a launcher; default: none
	Checkpoint Checkpoint    // default: none

	Drain <-chan struct{} // when it is closed, this peer leaves as by Group.Drain; default: never
	Grace time.Duration   // how long that may take; default 30 s

	// Order is how peers stand in the ring: "hosts" (default), those of a host
	// together, or "measured": the hosts, too, by what the links between them
	// carry, which is measured when a generation begins with hosts that it was
	// not measured for. The same on all peers.
	Order string

	// Audit lets this peer report what each committed step consumed, see Record.
	// Of the peers with the same name here one does, and the others when it dies.
	// Default: none.
	Audit string

	// BlackBox is the folder in which this peer keeps a record of its last minutes,
	// and a copy of that of a neighbour, see package blackbox. Default: both are in
	// memory, and end with the process.
	BlackBox string
	Metrics  string // address at which Prometheus may ask, without a secret; default: none
	UI       string // address at which browsers see the run, see package web; default: none

	VerifyEvery  int    // steps from one comparison of the peers' states to the next; default 64, less than 0: compare nothing
	OnDivergence string // "heal" (default): who differs from most of the others gets their state; or "stop"
	// ReportSteps writes every committed step to Report as well, with a hash of
	// the state: it is for tests of what a run does, and costs time.
	ReportSteps bool

	measure func(ctx context.Context, comm *allreduce.Comm, leaders []int) ([][]ring.Way, error) // Comm.Ways, but in tests
	wrap    func(self string, links ring.Transport) ring.Transport                               // what lies between peers, in tests
	linger  time.Duration                                                                        // lingerTime, but in tests
}

// State is what all peers must hold in common and a newcomer lacks: parameters,
// solver state, and so on. Equal states must save to equal bytes. Load takes over
// all that it reads, or fails and changes nothing.
type State interface {
	Save(w io.Writer) error
	Load(r io.Reader) error
}

func (c Config) withDefaults() Config {
	if c.Transport == "" {
		c.Transport = "auto"
	}
	if c.Codec == "" {
		c.Codec = "raw"
	}
	if c.TLS == "" {
		c.TLS = "auto"
	}
	c.Size = max(c.Size, 1)
	c.MinSize = max(c.MinSize, 1)
	if c.Silence == 0 {
		c.Silence = time.Second
	}
	if c.VerifyEvery == 0 {
		c.VerifyEvery = 64
	}
	if c.Batch == "" {
		c.Batch = "constant"
	}
	if c.Order == "" {
		c.Order = "hosts"
	}
	if c.measure == nil {
		c.measure = func(ctx context.Context, comm *allreduce.Comm, leaders []int) ([][]ring.Way, error) {
			return comm.Ways(ctx, leaders)
		}
	}
	if c.OnDivergence == "" {
		c.OnDivergence = "heal"
	}
	if c.Grace == 0 {
		c.Grace = 30 * time.Second
	}
	if c.Logger == nil {
		c.Logger = zap.NewNop()
	}
	if c.Report == nil {
		c.Report = io.Discard
	}
	if c.linger == 0 {
		c.linger = lingerTime
	}
	c.Checkpoint = c.Checkpoint.withDefaults()
	if c.Membership.Logger == nil {
		c.Membership.Logger = c.Logger
	}
	if c.Membership.ExpectTimeout == 0 { // the others must not run out of patience first
		c.Membership.ExpectTimeout = expectTimeout
	}
	if c.Membership.Expect == 0 {
		c.Membership.Expect = c.Size
	}
	return c
}

func (c Config) validate() error {
	if !slices.Contains([]string{"auto", "shm", "tcp", "rtc"}, c.Transport) {
		return fmt.Errorf("elastic: transport %q, want auto, shm, tcp or rtc", c.Transport)
	}
	if _, ok := privacies[c.TLS]; !ok {
		return fmt.Errorf("elastic: TLS %q, want auto, always or never", c.TLS)
	}
	if c.Order != "hosts" && c.Order != "measured" {
		return fmt.Errorf("elastic: order %q, want hosts or measured", c.Order)
	}
	if _, err := codec.ByName(c.Codec); err != nil {
		return fmt.Errorf("elastic: %w", err)
	}
	if c.Membership.Found && c.MinSize > c.Size {
		return fmt.Errorf("elastic: at least %d peers wanted, but only %d to start with", c.MinSize, c.Size)
	}
	if c.MinWait < 0 {
		return fmt.Errorf("elastic: wait %v for peers", c.MinWait)
	}
	if c.Batch != "constant" && c.Batch != "scale" {
		return fmt.Errorf("elastic: batch policy %q, want constant or scale", c.Batch)
	}
	if c.OnDivergence != "heal" && c.OnDivergence != "stop" {
		return fmt.Errorf("elastic: on divergence %q, want heal or stop", c.OnDivergence)
	}
	if c.Grace < 0 {
		return fmt.Errorf("elastic: a grace of %v", c.Grace)
	}
	if c.Membership.Witness {
		return errors.New("elastic: a witness does not train: see membership.Witness")
	}
	if c.Silence < 10*time.Millisecond {
		return fmt.Errorf("elastic: silence of %v, want at least 10ms", c.Silence)
	}
	for _, addr := range []string{c.Metrics, c.UI} {
		if _, _, err := net.SplitHostPort(addr); addr != "" && err != nil {
			return fmt.Errorf("elastic: watch the run at %q, want host:port", addr)
		}
	}
	return c.Checkpoint.validate()
}

// FromEnv returns the Config that the launcher describes in the environment.
// Without a launcher it is that of a group of one. With one, from now on SIGTERM
// drains this peer; a second one ends it as ever.
func FromEnv() (Config, error) {
	m, err := membership.FromEnv()
	if err != nil {
		return Config{}, err
	}
	c := Config{
		Membership: m,
		Transport:  os.Getenv("RINGRUN_TRANSPORT"),
		Host:       os.Getenv("RINGRUN_HOST"),
		Codec:      os.Getenv("RINGRUN_CODEC"),
		TLS:        os.Getenv("RINGRUN_TLS"),
		Size:       m.Expect,

		Batch:        os.Getenv("RINGRUN_BATCH_POLICY"),
		Audit:        os.Getenv("RINGRUN_AUDIT"),
		Order:        os.Getenv("RINGRUN_ORDER"),
		OnDivergence: os.Getenv("RINGRUN_ON_DIVERGENCE"),
		BlackBox:     os.Getenv("RINGRUN_BLACKBOX"),
		Metrics:      os.Getenv("RINGRUN_METRICS"),
		UI:           os.Getenv("RINGRUN_UI"),
	}
	if s := os.Getenv("RINGRUN_MIN_N"); s != "" {
		if c.MinSize, err = strconv.Atoi(s); err != nil || c.MinSize < 1 {
			return Config{}, fmt.Errorf("elastic: RINGRUN_MIN_N is %q, want a number of peers", s)
		}
	}
	if c.MinWait, err = durationFromEnv("RINGRUN_ELASTIC_TIMEOUT"); err != nil {
		return Config{}, err
	}
	if c.Silence, err = durationFromEnv("RINGRUN_SILENCE"); err != nil {
		return Config{}, err
	}
	if c.Grace, err = durationFromEnv("RINGRUN_GRACE"); err != nil {
		return Config{}, err
	}
	if c.Grace > 0 {
		c.Drain, _ = OnSignal(syscall.SIGTERM)
	}
	if c.Checkpoint, err = checkpointFromEnv(); err != nil {
		return Config{}, err
	}
	if c.ReportSteps, err = boolFromEnv("RINGRUN_REPORT_STEPS"); err != nil {
		return Config{}, err
	}
	if c.Trace, err = boolFromEnv("RINGRUN_TRACE"); err != nil {
		return Config{}, err
	}
	if c.Logger, err = logger(os.Getenv("RINGRUN_LOG"), os.Getenv("RINGRUN_LOG_FORMAT"), zapcore.Lock(os.Stderr)); err != nil {
		return Config{}, err
	}
	if s := os.Getenv("RINGRUN_REPORT"); s != "" {
		fd, err := strconv.Atoi(s)
		if err != nil || fd < 3 {
			return Config{}, fmt.Errorf("elastic: RINGRUN_REPORT is %q, want a file descriptor from 3 on", s)
		}
		closeOnExec(fd) // it is not for the program's children
		c.Report = os.NewFile(uintptr(fd), "report")
	}
	return c, c.withDefaults().validate()
}

// durationFromEnv returns 0 if the variable is not set.
func durationFromEnv(name string) (time.Duration, error) {
	s := os.Getenv(name)
	if s == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, fmt.Errorf("elastic: %s is %q, want a duration such as 1s", name, s)
	}
	return d, nil
}

// boolFromEnv returns false if the variable is not set.
func boolFromEnv(name string) (bool, error) {
	s := os.Getenv(name)
	if s == "" {
		return false, nil
	}
	b, err := strconv.ParseBool(s)
	if err != nil {
		return false, fmt.Errorf("elastic: %s is %q, want 1 or 0", name, s)
	}
	return b, nil
}

// Run joins the group, calls train, and leaves. It returns the error of train,
// or why the group could not be joined. When train returns nil, Run first waits
// until all peers have committed the last step, and some seconds for one that was
// left out and may come back for it.
//
// Run returns nil, too, when this peer was drained, or came when the run had ended
// already: then its state is not that of the end, and Group.Drained is true.
//
// A peer that the others have given up, because it did not answer in time,
// joins them again under a new ID; train does not notice more than a pause.
func Run(ctx context.Context, cfg Config, train func(ctx context.Context, g *Group) error) error {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return err
	}
	coder, err := codec.ByName(cfg.Codec)
	if err != nil {
		return err
	}
	cfg.Membership = named(cfg.Membership)
	rec := newRecorder(cfg)
	defer rec.close()
	defer rec.panicked()
	cfg = rec.listen(cfg)
	report := newReport(cfg.Report)
	report.box = rec
	in := newInspector()
	in.box = rec
	in.mux.HandleFunc("GET /blackbox", rec.serve)
	in.mux.HandleFunc("POST /blackbox", rec.receive)
	cfg.Membership.Control = in
	arena := newArena(cfg)
	if arena != nil {
		defer arena.Close()
	}
	s, err := join(ctx, cfg, arena)
	if err != nil {
		report.failed(cfg.Membership.ID, err)
		return err
	}
	report.listening(s.node.ID(), s.node.Addr())
	g := newGroup(cfg, report, s, allreduce.Config{Codec: coder, SmallBytes: smallBytes})
	g.startup = time.Since(processBegan)
	g.arena, g.recorder, g.meter.box = arena, rec, rec
	if cfg.Trace {
		g.meter.trace.record()
	}
	in.group.Store(g)
	id := s.node.ID()
	g.where.id.Store(&id)
	place(cfg.Logger, g)
	ctx, cancel := context.WithCancelCause(ctx)
	var running sync.WaitGroup
	running.Go(func() { g.manage(ctx) })
	running.Go(func() { g.heedDrain(ctx, cancel) })
	running.Go(func() { g.watchStalls(ctx) })
	recorded := g.record(ctx)
	running.Go(func() { g.vitals.run(ctx) })
	running.Go(func() { g.servePages(ctx, in) })
	err = train(ctx, g)
	if err == nil {
		err = g.finish(ctx)
	}
	if cause := context.Cause(ctx); cause != nil && (errors.Is(cause, ErrGrace) || errors.Is(err, ring.ErrBroken)) && err != nil {
		err = cause // the ring has only been closed for that
	}
	cancel(nil)
	running.Wait()
	g.lastCheckpoint(err == nil || errors.Is(err, ErrDrained))
	err = g.reportEnd(err)
	recorded()
	g.meter.enter(Waiting)
	g.meter.trace.end()
	g.leave()
	return err
}

// named gives a peer an ID unless it has one.
func named(m membership.Config) membership.Config {
	if m.ID == "" {
		m.ID = "peer-" + hex.EncodeToString(randomBytes(4))
	}
	return m
}

// freshID returns a new ID for a peer that starts anew.
func freshID(old string) string {
	base, _, _ := cutLast(old, "-")
	return base + "-" + hex.EncodeToString(randomBytes(2))
}
