package elastic

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/ringrun/ringrun/elastic/blackbox"
	"github.com/ringrun/ringrun/membership"
	"go.uber.org/zap"
)

// A Checkpoint says where and how often the state is written to disk, so that a
// run in which all peers die can go on.
//
// On every host the first of its peers in rank order writes; when it is gone, the
// next one does. Between two steps it copies its state, and training goes on
// while the copy is written. When a group is founded, the most advanced checkpoint
// that any of the first peers finds in its Dir is where it begins.
type Checkpoint struct {
	Dir      string        // made if need be; "": no checkpoints
	Every    uint64        // steps between two; default 100, or none if Interval is set
	Interval time.Duration // between two; default: see Every
	Keep     int           // how many are kept; default 3
}

func (c Checkpoint) withDefaults() Checkpoint {
	if c.Every == 0 && c.Interval == 0 {
		c.Every = 100
	}
	if c.Keep == 0 {
		c.Keep = 3
	}
	return c
}

func (c Checkpoint) validate() error {
	if c.Keep < 1 || c.Interval < 0 {
		return fmt.Errorf("elastic: checkpoints every %v of which %d are kept, want at least 1", c.Interval, c.Keep)
	}
	return nil
}

// checkpointFromEnv reads RINGRUN_CHECKPOINT_DIR, _EVERY (a number of steps, or a
// duration) and _KEEP.
func checkpointFromEnv() (c Checkpoint, err error) {
	c.Dir = os.Getenv("RINGRUN_CHECKPOINT_DIR")
	if s := os.Getenv("RINGRUN_CHECKPOINT_EVERY"); s != "" {
		if c.Every, c.Interval, err = ParseEvery(s); err != nil {
			return c, fmt.Errorf("elastic: RINGRUN_CHECKPOINT_EVERY: %w", err)
		}
	}
	if s := os.Getenv("RINGRUN_CHECKPOINT_KEEP"); s != "" {
		if c.Keep, err = strconv.Atoi(s); err != nil || c.Keep < 1 {
			return c, fmt.Errorf("elastic: RINGRUN_CHECKPOINT_KEEP is %q, want a number of checkpoints", s)
		}
	}
	return c, nil
}

// ParseEvery reads how often something happens: "100" is every 100 steps, "30s"
// every 30 seconds.
func ParseEvery(s string) (steps uint64, interval time.Duration, err error) {
	if steps, err = strconv.ParseUint(s, 10, 64); err == nil && steps > 0 {
		return steps, 0, nil
	}
	if interval, err = time.ParseDuration(s); err == nil && interval > 0 {
		return 0, interval, nil
	}
	return 0, 0, fmt.Errorf("%q is neither a number of steps nor a duration such as 30s", s)
}

// closeTimeout is how long the end of a run waits for a checkpoint to be written.
const closeTimeout = 30 * time.Second

var errDiskSlow = errors.New("elastic: the disk is still writing")

// A keeper writes this peer's checkpoints. Its methods are for the goroutine that
// trains; what is written belongs to another one until busy is closed.
type keeper struct {
	Checkpoint
	logger *zap.Logger
	last   uint64        // steps in the checkpoint written last, or begun
	at     time.Time     // of that
	busy   chan struct{} // closed when the write under way has ended; nil: none has begun
	spare  [][]byte      // memory of the last copy; not while busy
	write  func(c copied, dir string) (path string, err error)
}

func newKeeper(c Checkpoint, l *zap.Logger) *keeper {
	return &keeper{Checkpoint: c, logger: l, at: time.Now(), write: copied.write}
}

// due reports whether a checkpoint after so many steps should be written.
func (k *keeper) due(steps uint64) bool {
	return k.Every > 0 && steps/k.Every > k.last/k.Every ||
		k.Interval > 0 && time.Since(k.at) >= k.Interval
}

// writing reports whether a write is under way.
func (k *keeper) writing() bool {
	if k.busy == nil {
		return false
	}
	select {
	case <-k.busy:
		return false
	default:
		return true
	}
}

// checkpoint is called between two steps. If the disk is still busy with the
// checkpoint before, it is due again after the next step.
func (g *Group) checkpoint(gen *generation) {
	k := g.keeper
	if k.Dir == "" || !gen.writes || !k.due(g.steps) || k.writing() {
		return
	}
	defer g.meter.inside("checkpoint", time.Now())
	if err := g.beginWrite(); err != nil {
		k.logger.Warn("no checkpoint", zap.Uint64("steps", g.steps), zap.Error(err))
	}
}

// beginWrite copies the state, and lets the copy be written.
func (g *Group) beginWrite() error {
	k := g.keeper
	began := time.Now()
	k.last, k.at = g.steps, began
	c := copied{header: header{Steps: g.steps, lineage: g.lineage()}}
	cut := cutter{spare: k.spare, take: func(_ int, _ uint64, b []byte) bool {
		c.pieces = append(c.pieces, b)
		return true
	}}
	if err := g.save(&cut); err != nil {
		return err
	}
	c.header.Bytes = cut.close().bytes
	pause := time.Since(began)
	k.spare = nil
	r := g.recorder
	k.busy = make(chan struct{})
	go func() {
		defer close(k.busy)
		path, err := k.write(c, k.Dir)
		if err == nil {
			err = prune(k.Dir, c.header, k.Keep)
		}
		r.note(blackbox.Event{Kind: blackbox.Checkpoint, Step: c.header.Steps, Text: errorText(err)})
		if err != nil {
			k.logger.Warn("checkpoint", zap.Uint64("steps", c.header.Steps), zap.Error(err))
		} else {
			g.tally.saved(c.header.Steps, path)
			k.logger.Info("checkpoint", zap.String("file", path), zap.Int64("bytes", c.header.Bytes),
				zap.Duration("pause", pause), zap.Duration("took", time.Since(began)))
		}
		k.spare = c.pieces
	}()
	return nil
}

// wait waits for the write under way.
func (k *keeper) wait() error {
	if k.busy == nil {
		return nil
	}
	t := time.NewTimer(closeTimeout)
	defer t.Stop()
	select {
	case <-k.busy:
		return nil
	case <-t.C:
		return errDiskSlow
	}
}

// lastCheckpoint is called when the run has ended. Training that ended well
// leaves a checkpoint of its end.
func (g *Group) lastCheckpoint(well bool) {
	k := g.keeper
	if k.Dir == "" {
		return
	}
	err := k.wait()
	if gen := g.current(); well && err == nil && gen != nil && gen.writes && g.steps > k.last {
		if err = g.beginWrite(); err == nil {
			err = k.wait()
		}
	}
	if err != nil {
		k.logger.Warn("the last checkpoint", zap.Uint64("steps", g.steps), zap.Error(err))
	}
}

// writesFor reports whether the peer of a rank is the first of its host: of its
// place, or of its address if it does not tell that.
func writesFor(v membership.View, rank int) bool {
	if rank < 0 {
		return false
	}
	host := func(p membership.Peer) string {
		if place := near(p.Meta); place != "" {
			return place
		}
		h, _, _ := net.SplitHostPort(p.Addr)
		return h
	}
	own := host(v.Peers[rank])
	return !slices.ContainsFunc(v.Peers[:rank], func(p membership.Peer) bool { return host(p) == own })
}
