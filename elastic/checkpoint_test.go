package elastic

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringrun/ringrun/membership"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

func someCheckpoint() copied {
	g := savedGroup()
	g.digest = []byte("a model")
	var c copied
	cut := cutter{take: func(_ int, _ uint64, b []byte) bool {
		c.pieces = append(c.pieces, b)
		return true
	}}
	if err := g.save(&cut); err != nil {
		panic(err)
	}
	c.header = header{Steps: g.steps, Bytes: cut.close().bytes, lineage: g.lineage()}
	return c
}

func fileOf(c copied) []byte {
	var b bytes.Buffer
	if err := c.writeTo(&b); err != nil {
		panic(err)
	}
	return b.Bytes()
}

func check(b []byte) (header, error) { return verify(bytes.NewReader(b), int64(len(b))) }

func TestCheckpointFile(t *testing.T) {
	good := fileOf(someCheckpoint())
	h, err := check(good)
	if err != nil || h.Steps != 7 || h.Count != someSamples.Count || string(h.Digest) != "a model" {
		t.Fatalf("%+v, %v", h, err)
	}
	if want := h.lineage.name() + "-000000000007.ckpt"; h.name() != want || !fileName.MatchString(want) {
		t.Errorf("named %s, want %s", h.name(), want)
	}
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 0x40
		if _, err := check(bad); !errors.Is(err, ErrCheckpoint) {
			t.Fatalf("byte %d of %d damaged: %v, want %v", i, len(good), err, ErrCheckpoint)
		}
	}
	for n := range good {
		if _, err := check(good[:n]); !errors.Is(err, ErrCheckpoint) {
			t.Fatalf("cut to %d of %d bytes: %v, want %v", n, len(good), err, ErrCheckpoint)
		}
	}
	if _, err := check(append(good, 0)); !errors.Is(err, ErrCheckpoint) {
		t.Errorf("one byte more: %v, want %v", err, ErrCheckpoint)
	}
}

func FuzzCheckpoint(f *testing.F) {
	good := fileOf(someCheckpoint())
	f.Add(good)
	f.Add(good[:20])
	f.Add(binary.LittleEndian.AppendUint32([]byte("RRCK\x01\x00\x00\x00"), 1<<31))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := check(b)
		if err == nil && (h.Bytes < 0 || h.Bytes > int64(len(b))) {
			t.Errorf("%d bytes hold a state of %d", len(b), h.Bytes)
		}
		if err != nil && !errors.Is(err, ErrCheckpoint) {
			t.Errorf("%v, want an error that wraps %v", err, ErrCheckpoint)
		}
	})
}

// A restart is a cluster of peers with checkpoints, and what they log.
type restart struct {
	*cluster
	logs *observer.ObservedLogs
}

func newRestart(t *testing.T, dir func(i int) string, every uint64) *restart {
	core, logs := observer.New(zapcore.InfoLevel)
	c := newCluster(t, someSamples)
	i := 0
	c.config = func(_ int, cfg *Config) {
		cfg.Checkpoint = Checkpoint{Dir: dir(i), Every: every}
		cfg.Logger = zap.New(core)
		cfg.Membership.Logger = zap.NewNop()
		i++
	}
	return &restart{c, logs}
}

// killAll kills all peers before the pass of a step.
func (r *restart) killAll(n int, step uint64) {
	r.t.Helper()
	var there sync.WaitGroup
	there.Add(n)
	r.at = func(p *peer, s Shard) error {
		if s.Step < step {
			return p.g.keeper.wait() // the disk is slower than this model
		}
		there.Done()
		there.Wait()
		p.kill()
		return errKilled
	}
	for range n {
		r.start(n)
	}
	r.wait()
	for _, p := range r.peers {
		if !errors.Is(p.err, errKilled) {
			r.t.Fatalf("%s: %v, want %v", p.id, p.err, errKilled)
		}
	}
}

// finish lets n peers go on to the end, and returns the first step that they took.
func (r *restart) finish(n int) uint64 {
	r.t.Helper()
	first := ^uint64(0)
	var mu sync.Mutex
	r.at = func(p *peer, s Shard) error {
		mu.Lock()
		defer mu.Unlock()
		first = min(first, s.Step)
		if told := p.g.meter.step(); told != s.Step {
			r.t.Errorf("%s tells who asks that it has made %d steps, and has made %d", p.id, told, s.Step)
		}
		return p.g.keeper.wait()
	}
	for range n {
		r.start(n)
	}
	r.check()
	return first
}

// logged returns the messages that name a file.
func (r *restart) logged(message, file string) int {
	n := 0
	for _, e := range r.logs.All() {
		if e.Message == message && strings.Contains(fmt.Sprint(e.ContextMap()["file"]), file) {
			n++
		}
	}
	return n
}

func stepsIn(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		_, steps, _ := strings.Cut(e.Name(), "-")
		out = append(out, strings.TrimLeft(strings.TrimSuffix(steps, ".ckpt"), "0"))
	}
	return out
}

// All peers are killed. Others, more or fewer, go on from the last checkpoint, and
// every sample is still in exactly one step of each epoch.
func TestRestart(t *testing.T) {
	for _, n := range []int{1, 2, 4} {
		t.Run(fmt.Sprintf("peers=%d", n), func(t *testing.T) {
			dir := t.TempDir()
			same := func(int) string { return dir }
			newRestart(t, same, 5).killAll(3, 23)
			if got := stepsIn(t, dir); !slices.Equal(got, []string{"10", "15", "20"}) {
				t.Fatalf("checkpoints %v, want 10, 15, 20", got)
			}
			if first := newRestart(t, same, 5).finish(n); first != 20 {
				t.Errorf("went on at step %d, want 20", first)
			}
			if got := stepsIn(t, dir); got[len(got)-1] != "48" {
				t.Errorf("checkpoints %v, want the last at the end, after 48 steps", got)
			}
		})
	}
}

// Files that are damaged, of another data set or another model are named and left;
// the one before is used.
func TestRestartFromWhatIsGood(t *testing.T) {
	dir := t.TempDir()
	same := func(int) string { return dir }
	newRestart(t, same, 5).killAll(2, 23)
	all, err := list(dir)
	if err != nil || len(all) != 3 {
		t.Fatalf("%v, %v", all, err)
	}
	if err := os.Truncate(all[0].path, 5000); err != nil {
		t.Fatal(err)
	}
	foreign := someCheckpoint()
	foreign.header.Steps, foreign.header.Count = 77, 3
	model := someCheckpoint()
	model.header.Steps = 66
	for _, c := range []copied{foreign, model} {
		if _, err := c.write(dir); err != nil {
			t.Fatal(err)
		}
	}
	r := newRestart(t, same, 5)
	if first := r.finish(2); first != 15 {
		t.Errorf("went on at step %d, want 15", first)
	}
	for _, name := range []string{filepath.Base(all[0].path), foreign.header.name(), model.header.name()} {
		if r.logged("a checkpoint is of no use here", name) != 2 {
			t.Errorf("%s was not named by both peers", name)
		}
	}
	for _, c := range []copied{foreign, model} {
		if _, err := os.Stat(filepath.Join(dir, c.header.name())); err != nil {
			t.Errorf("a file of others: %v", err)
		}
	}
}

// Where nothing can be written, a run says so when it starts.
func TestRestartWithoutFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "leads nowhere")
	if err := os.Symlink("nowhere", dir); err != nil {
		t.Skip(err)
	}
	r := newRestart(t, func(int) string { return dir }, 5)
	r.start(1)
	r.wait()
	if err := r.peers[0].err; err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("%v, want an error that names %s", err, dir)
	}
}

// Peers have folders of their own: the most advanced wins, whoever has it.
func TestRestartFromTheMostAdvanced(t *testing.T) {
	root := t.TempDir()
	own := func(i int) string { return filepath.Join(root, fmt.Sprint(i)) }
	newRestart(t, own, 5).killAll(1, 12)
	if err := os.Rename(own(0), own(2)); err != nil {
		t.Fatal(err)
	}
	newRestart(t, own, 5).killAll(1, 7)
	if first := newRestart(t, own, 5).finish(3); first != 10 {
		t.Errorf("went on at step %d, want 10, which the third peer has", first)
	}
}

// The peer that writes dies; the next one writes.
func TestWriterDies(t *testing.T) {
	dir := t.TempDir()
	r := newRestart(t, func(int) string { return dir }, 5)
	var writers sync.Map
	r.at = func(p *peer, s Shard) error {
		if p.g.keeper.last > 0 && s.Step == 22 {
			writers.Store(p, true)
		}
		if p.id == "p0-0" && s.Step == 12 {
			p.kill()
			return errKilled
		}
		return p.g.keeper.wait()
	}
	for range 3 {
		r.start(3)
	}
	r.check(r.peers[0])
	if got := stepsIn(t, dir); !slices.Equal(got, []string{"40", "45", "48"}) {
		t.Errorf("checkpoints %v, want 40, 45, 48", got)
	}
	n := 0
	for range writers.Range {
		n++
	}
	if n != 1 {
		t.Errorf("%d of the others have written by step 22, want one", n)
	}
}

// Training does not wait for the disk, and the copy that is being written does not
// change.
func TestSlowDisk(t *testing.T) {
	dir := t.TempDir()
	r := newRestart(t, func(int) string { return dir }, 1)
	release := make(chan struct{})
	var wrote atomic.Int32
	r.at = func(p *peer, s Shard) error {
		switch {
		case !s.Last:
		case s.Step == 0:
			p.g.keeper.write = func(c copied, dir string) (string, error) {
				wrote.Add(1)
				<-release
				return c.write(dir)
			}
		case s.Step == 30:
			if n := wrote.Load(); n > 1 || !p.g.keeper.writing() {
				t.Errorf("%d writes have begun at step 30, under way %v; want the first", n, p.g.keeper.writing())
			}
			close(release)
		}
		return nil
	}
	r.start(1)
	r.check()
	if got := stepsIn(t, dir); got[len(got)-1] != "48" || len(got) > 3 {
		t.Errorf("checkpoints %v, want at most 3, the last at 48", got)
	}
}

// What writers that died have left is removed, and what lies ahead is not.
func TestPrune(t *testing.T) {
	dir := t.TempDir()
	c := someCheckpoint()
	for _, steps := range []uint64{3, 4, 5, 6, 9} {
		c.header.Steps = steps
		if _, err := c.write(dir); err != nil {
			t.Fatal(err)
		}
	}
	c.header.Steps = 2
	left := filepath.Join(dir, "."+c.header.name()+".123.tmp")
	if err := os.WriteFile(left, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c.header.Steps = 6
	if err := prune(dir, c.header, 2); err != nil {
		t.Fatal(err)
	}
	if got := stepsIn(t, dir); !slices.Equal(got, []string{"5", "6", "9"}) {
		t.Errorf("%v are left, want 5, 6, 9", got)
	}
}

func TestCheckpointSettings(t *testing.T) {
	for s, want := range map[string]Checkpoint{"100": {Every: 100}, "30s": {Interval: 30 * time.Second}, "0": {}, "": {}, "-1s": {}, "soon": {}} {
		steps, interval, err := ParseEvery(s)
		if steps != want.Every || interval != want.Interval || (err == nil) != (want != Checkpoint{}) {
			t.Errorf("%q: %d steps, %v, %v", s, steps, interval, err)
		}
	}
	t.Setenv("RINGRUN_CHECKPOINT_DIR", "d")
	t.Setenv("RINGRUN_CHECKPOINT_EVERY", "7")
	t.Setenv("RINGRUN_CHECKPOINT_KEEP", "2")
	c, err := FromEnv()
	if want := (Checkpoint{Dir: "d", Every: 7, Keep: 2}); err != nil || c.Checkpoint != want {
		t.Errorf("%+v, %v, want %+v", c.Checkpoint, err, want)
	}
	t.Setenv("RINGRUN_CHECKPOINT_KEEP", "none")
	if _, err := FromEnv(); err == nil || !strings.Contains(err.Error(), "RINGRUN_CHECKPOINT_KEEP") {
		t.Errorf("%v, want an error that names the variable", err)
	}
}

// On each host the first peer in rank order writes.
func TestWhoWrites(t *testing.T) {
	v := membership.View{Peers: []membership.Peer{{Addr: "10.0.0.2:1"}, {Addr: "10.0.0.2:2"}, {Addr: "10.0.0.3:1"}, {Addr: "10.0.0.2:3"}, {Addr: "[fd00::1]:1"}}}
	for _, place := range []string{"x", "y", "x"} {
		v.Peers = append(v.Peers, membership.Peer{Addr: "10.0.0.2:9", Meta: []byte(`{"place":"` + place + `"}`)})
	}
	for rank, want := range []bool{true, false, true, false, true, true, true, false} {
		if writesFor(v, rank) != want {
			t.Errorf("rank %d writes: %v, want %v", rank, !want, want)
		}
	}
}
