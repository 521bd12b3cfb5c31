package elastic

import (
	"cmp"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringrun/ringrun/elastic/blackbox"
	"github.com/ringrun/ringrun/membership"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

const (
	lookTime   = 250 * time.Millisecond // between two looks at this process itself
	lapseTime  = 3 * lookTime           // without one: it did not run
	noteEvery  = time.Second            // between two notes of what changes steadily
	memoryNote = 10 * time.Second
	logsAtOnce = 20 // lines that are noted in a second
)

// A recorder keeps the black box of this peer, and copies of those of others. Its
// methods may be called from any goroutine, and on nil.
type recorder struct {
	box    *blackbox.Box
	dir    string
	epoch  atomic.Uint64 // of the generation in use
	memory atomic.Uint64
	ended  atomic.Bool // what the others do when this peer leaves says nothing of it
	copies copies

	mu    sync.Mutex // guards the fields below
	lines int        // of the log, noted since…
	since time.Time
}

// newRecorder begins the box of a peer. Where no file can be made for it, it is
// in memory.
func newRecorder(cfg Config) *recorder {
	h := blackbox.Header{
		Run: cfg.Membership.Run, ID: cfg.Membership.ID, Boot: blackbox.Boot(), PID: os.Getpid(),
		Began: time.Now().UnixNano(), Limit: blackbox.Limit(os.Getpid()), Silent: int64(cfg.Silence),
	}
	h.Host, _ = os.Hostname()
	h.Start, _, _ = blackbox.StartOf(h.PID)
	r := &recorder{dir: cfg.BlackBox}
	if r.dir != "" {
		var err error
		if r.box, err = blackbox.Create(r.dir, h); err != nil {
			cfg.Logger.Warn("no black box on disk", zap.Error(err))
			r.dir = ""
		}
	}
	if r.box == nil {
		r.box = blackbox.New(h)
	}
	r.copies = copies{run: h.Run, keeper: h.ID, dir: r.dir, boxes: map[string]*blackbox.Box{}}
	r.note(blackbox.Event{Kind: blackbox.Began, Text: "transport " + cfg.Transport + ", codec " + cfg.Codec})
	return r
}

// listen lets the box hear what the node notices, and what is logged.
func (r *recorder) listen(cfg Config) Config {
	same := cfg.Membership.Logger == cfg.Logger
	cfg.Logger = r.logger(cfg.Logger)
	if same {
		cfg.Membership.Logger = cfg.Logger
	}
	cfg.Membership.Notice = r.noticed
	return cfg
}

func (r *recorder) note(e blackbox.Event) {
	if r != nil {
		r.box.Note(e)
	}
}

// errorText is "" for none.
func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// pulse notes what the peer does now.
func (r *recorder) pulse(d doing, since time.Time) {
	if r != nil {
		r.box.Pulse(blackbox.Gauge{
			Phase: string(d.phase), Since: since.UnixNano(), Step: d.step, Bucket: uint32(d.bucket), Buckets: uint32(d.buckets),
			Epoch: r.epoch.Load(), Memory: r.memory.Load(),
		})
	}
}

// committed notes the first step of a generation: the group goes on.
func (r *recorder) committed(gen *generation, steps uint64) {
	if r == nil || r.epoch.Load() == gen.view.Epoch {
		return
	}
	r.epoch.Store(gen.view.Epoch)
	r.note(blackbox.Event{Kind: blackbox.WentOn, Epoch: gen.view.Epoch, Step: steps})
}

// heard notes what the launcher is told.
func (r *recorder) heard(e event) {
	kinds := map[string]blackbox.Kind{
		"listening": blackbox.Named, "view": blackbox.View, "stalled": blackbox.Stalled, "diverged": blackbox.Diverged,
		"silent": blackbox.Silent, "done": blackbox.Done, "drained": blackbox.Drained, "over": blackbox.Over, "failed": blackbox.Failed,
		"broken": blackbox.RingBroke, "retry": blackbox.Retried,
	}
	k, ok := kinds[e.Event]
	if r == nil || !ok {
		return
	}
	out := blackbox.Event{Kind: k, Epoch: e.Epoch, Step: e.Steps, Peers: e.Peers, Text: cmp.Or(e.Error, e.For)}
	switch {
	case k == blackbox.Retried:
		out.Step++ // the one that is made again
	case k == blackbox.Named:
		out.Peer, out.Text = e.ID, e.Addr
	case k == blackbox.Silent && len(e.Peers) > 0:
		out.Peer, out.Peers = e.Peers[0], nil
	}
	r.note(out)
	if k == blackbox.Done || k == blackbox.Drained || k == blackbox.Over || k == blackbox.Failed {
		r.ended.Store(true)
	}
}

// noticed notes what the node has noticed.
func (r *recorder) noticed(n membership.Notice) {
	kinds := map[membership.What]blackbox.Kind{
		membership.Wanted: blackbox.Wanted, membership.Suspected: blackbox.Suspect, membership.Proven: blackbox.Dead,
		membership.Proposed: blackbox.Proposed, membership.LeftOut: blackbox.Excluded,
		membership.Paused: blackbox.Paused, membership.Resumed: blackbox.Resumed,
	}
	if k, ok := kinds[n.What]; ok && !r.ended.Load() { // the view itself is told of by the group
		r.note(blackbox.Event{Kind: k, Peer: n.Peer, Epoch: n.Epoch, Text: n.Text})
	}
}

// logger returns one that the box hears, too.
func (r *recorder) logger(l *zap.Logger) *zap.Logger {
	return l.WithOptions(zap.WrapCore(func(c zapcore.Core) zapcore.Core {
		return zapcore.NewTee(c, &boxCore{r: r})
	}))
}

// A boxCore notes what is logged, from information on.
type boxCore struct {
	r      *recorder
	fields []zapcore.Field
}

func (c *boxCore) Enabled(l zapcore.Level) bool { return l >= zapcore.InfoLevel }

func (c *boxCore) With(fields []zapcore.Field) zapcore.Core {
	return &boxCore{c.r, append(c.fields[:len(c.fields):len(c.fields)], fields...)}
}

func (c *boxCore) Check(e zapcore.Entry, to *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return to.AddCore(e, c)
	}
	return to
}

func (c *boxCore) Write(e zapcore.Entry, fields []zapcore.Field) error {
	if !c.r.mayLog() {
		return nil
	}
	enc := zapcore.NewConsoleEncoder(zapcore.EncoderConfig{MessageKey: "m", EncodeDuration: zapcore.StringDurationEncoder, SkipLineEnding: true})
	b, err := enc.EncodeEntry(e, append(c.fields[:len(c.fields):len(c.fields)], fields...))
	if err != nil {
		return err
	}
	c.r.note(blackbox.Event{Time: e.Time.UnixNano(), Kind: blackbox.Log, Text: b.String()})
	b.Free()
	return nil
}

func (c *boxCore) Sync() error { return nil }

// mayLog keeps a log that runs wild from filling the box.
func (r *recorder) mayLog() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Since(r.since) > time.Second {
		r.lines, r.since = 0, time.Now()
	}
	r.lines++
	return r.lines <= logsAtOnce
}

// panicked is deferred around the program's own code: it notes a panic, and lets
// it go on.
func (r *recorder) panicked() {
	if e := recover(); e != nil {
		r.note(blackbox.Event{Kind: blackbox.Panicked, Text: panicText(e)})
		panic(e)
	}
}

// close lets go of all boxes.
func (r *recorder) close() {
	if r != nil {
		r.copies.close()
		_ = r.box.Close() // what is in it is in the file
	}
}
