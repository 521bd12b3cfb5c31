package blackbox

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func header(id string) Header { return Header{Run: "r", ID: id, Host: "h", Boot: Boot(), PID: 7} }

func parse(t testing.TB, b []byte) Recording {
	t.Helper()
	r, err := Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// What is noted can be read, from memory and from the file, and again when the box
// has gone round several times: then it is what came last.
func TestBox(t *testing.T) {
	dir := t.TempDir()
	b, err := Create(dir, header("p0/x"))
	if err != nil {
		t.Fatal(err)
	}
	const events = 20_000
	for i := range events {
		b.Note(Event{Kind: Log, Step: uint64(i), Text: strings.Repeat("x", i%200)})
	}
	b.Pulse(Gauge{Phase: "computing", Step: 3})
	b.Pulse(Gauge{Phase: "reducing", Bucket: 2, Buckets: 7, Step: 4, Epoch: 2, Memory: 5})
	r := parse(t, b.Bytes())
	if r.Header != header("p0/x") {
		t.Errorf("header %+v", r.Header)
	}
	if g := r.Gauge; g.Phase != "reducing" || g.Bucket != 2 || g.Buckets != 7 || g.Step != 4 || g.Epoch != 2 || g.Memory != 5 || g.Turn != 2 || g.Time == 0 {
		t.Errorf("gauge %+v", g)
	}
	if n := len(r.Events); n < 500 || n > events {
		t.Fatalf("%d events", n)
	}
	for i, e := range r.Events {
		if want := uint64(events - len(r.Events) + i + 1); e.Seq != want || e.Step != want-1 || len(e.Text) != int(e.Step%200) {
			t.Fatalf("event %d is %+v, want seq %d", i, e, want)
		}
	}
	if last, _ := b.Since(events - 3); len(last) != 3 || last[0].Seq != events-2 {
		t.Errorf("the last three are %v", last)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	b.Note(Event{Kind: Log}) // does no harm
	file, err := os.ReadFile(filepath.Join(dir, "p0%2Fx.box"))
	if err != nil || len(parse(t, file).Events) != len(r.Events) {
		t.Errorf("the file has not what the box had: %v", err)
	}
}

// Texts of any length and content do not break a box.
func TestBoxTexts(t *testing.T) {
	b := New(header(strings.Repeat("p", 128)))
	peers := make([]string, 1000)
	for i := range peers {
		peers[i] = strings.Repeat("\x00", 128)
	}
	b.Note(Event{Kind: View, Peers: peers, Text: strings.Repeat("\x01\xff", 5000)})
	b.Pulse(Gauge{Phase: strings.Repeat("p", 300)})
	b.Note(Event{Kind: Done})
	r := parse(t, b.Bytes())
	if len(r.Events) == 0 || r.Events[len(r.Events)-1].Kind != Done || r.Gauge.Turn != 1 {
		t.Errorf("%d events, gauge %+v", len(r.Events), r.Gauge)
	}
}

// A writer that dies anywhere, or the next lap, tears one record and no other.
func TestTorn(t *testing.T) {
	b := New(header("p0"))
	const events = 50
	for i := range events {
		b.Note(Event{Kind: Log, Step: uint64(i), Text: "something"})
	}
	b.Pulse(Gauge{Phase: "one"})
	b.Pulse(Gauge{Phase: "two"})
	whole := b.Bytes()
	rng := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		torn := bytes.Clone(whole)
		at := recordAt + rng.IntN(events*80)
		for i := at; i < at+rng.IntN(60); i++ {
			torn[i] = byte(rng.Int())
		}
		r := parse(t, torn)
		if n := len(r.Events); n < events-2 || n > events {
			t.Fatalf("torn at %d: %d of %d events", at, n, events)
		}
		for _, e := range r.Events {
			if e.Step != e.Seq-1 || e.Text != "something" {
				t.Fatalf("torn at %d: %+v", at, e)
			}
		}
	}
	copy(whole[gaugeAt:], "torn")
	if g := parse(t, whole).Gauge; g.Phase != "one" {
		t.Errorf("with one gauge torn: %+v", g)
	}
}

// What a process noted just before SIGKILL is there.
func TestSurvivesKill(t *testing.T) {
	if dir := os.Getenv("TEST_BOX_DIR"); dir != "" {
		b, err := Create(dir, Header{Run: "r", ID: "victim", PID: os.Getpid()})
		if err != nil {
			panic(err)
		}
		for i := 0; ; i++ {
			b.Note(Event{Kind: Steps, Step: uint64(i)})
			b.Pulse(Gauge{Step: uint64(i)})
			if i == 100 {
				fmt.Println("ready")
			}
		}
	}
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run", "^TestSurvivesKill$")
	cmd.Env = append(os.Environ(), "TEST_BOX_DIR="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_, _ = out.Read(make([]byte, 1))
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	all, _, bad, err := ReadFolder(dir)
	if err != nil || len(all) != 1 || len(bad) > 0 {
		t.Fatalf("%v, %q, %v", all, bad, err)
	}
	r := all[0]
	last := r.Events[len(r.Events)-1]
	if r.Header.PID != cmd.Process.Pid || last.Step < 100 || r.Gauge.Step+1 < last.Step || r.Gauge.Step > last.Step+1 {
		t.Errorf("last event %+v, gauge %+v", last, r.Gauge)
	}
}

// A file that becomes too short under the box is no reason to die.
func TestFileTaken(t *testing.T) {
	b, err := Create(t.TempDir(), header("p0"))
	if err != nil {
		t.Fatal(err)
	}
	b.Note(Event{Kind: Began})
	if err := os.Truncate(b.Name(), 0); err != nil {
		t.Fatal(err)
	}
	b.Note(Event{Kind: Log})
	b.Pulse(Gauge{Step: 1})
	b.Bytes()
	if events, g := b.Since(0); len(events) != 2 || g.Step != 1 {
		t.Errorf("%v, %+v", events, g)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}

// A folder gives each peer once, with what copies of its box know more, and ends.
func TestFolder(t *testing.T) {
	dir := t.TempDir()
	own, err := Create(dir, header("p0"))
	if err != nil {
		t.Fatal(err)
	}
	h := header("p0")
	h.Keeper = "p1"
	copied, err := Create(dir, h)
	if err != nil {
		t.Fatal(err)
	}
	own.Note(Event{Kind: Began})
	own.Note(Event{Kind: Done})
	events, _ := own.Since(0)
	copied.Note(events[0])
	copied.Note(Event{Seq: 3, Time: 1, Kind: Log})
	copied.Pulse(Gauge{Turn: 9, Time: 1, Phase: "later"})
	want := End{ID: "p0", PID: 7, Time: time.Now().UnixNano(), Signal: "SIGKILL", Number: 9, OOM: true}
	if err := want.Write(dir); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"x.box": "short", "y.end": "{", "other": ""} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	all, ends, bad, err := ReadFolder(dir)
	if err != nil || len(all) != 1 || len(ends) != 1 || len(bad) != 2 {
		t.Fatalf("%v, %v, %q, %v", all, ends, bad, err)
	}
	if r := all[0]; len(r.Events) != 3 || r.Gauge.Phase != "later" || r.Header.Keeper != "" {
		t.Errorf("merged: %+v", r)
	}
	if ends[0] != want {
		t.Errorf("end %+v, want %+v", ends[0], want)
	}
	if _, _, _, err := ReadFolder(filepath.Join(dir, "none")); err == nil {
		t.Error("a folder that is not there can be read")
	}
}

func TestGroupFolders(t *testing.T) {
	got := groupFolders("12:cpu:/x\n5:memory:/a/b\n0::/user.slice/u\n")
	want := []string{"/sys/fs/cgroup/memory/a/b", "/sys/fs/cgroup/memory/a", "/sys/fs/cgroup/memory",
		"/sys/fs/cgroup/user.slice/u", "/sys/fs/cgroup/user.slice", "/sys/fs/cgroup"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Nobody needs to trust a file: whatever is in it, reading ends, with an error or
// with what is whole.
func FuzzParse(f *testing.F) {
	b := New(header("p0"))
	b.Note(Event{Kind: Began, Text: "x"})
	b.Pulse(Gauge{Phase: "computing"})
	small := b.Bytes()[:recordAt+512]
	f.Add(small)
	f.Add(small[:recordAt])
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := Parse(b)
		if err != nil {
			return
		}
		for i, e := range r.Events {
			if e.Seq == 0 || i > 0 && e.Seq <= r.Events[i-1].Seq {
				t.Fatalf("events out of order: %v", r.Events)
			}
		}
	})
}

func BenchmarkNote(b *testing.B) {
	box, err := Create(b.TempDir(), header("p0"))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		box.Note(Event{Time: 1, Kind: Steps, Step: 100, Epoch: 3})
	}
}

func BenchmarkPulse(b *testing.B) {
	box, err := Create(b.TempDir(), header("p0"))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		box.Pulse(Gauge{Time: 1, Phase: "reducing", Step: 100, Epoch: 3})
	}
}

// The least of what the groups allow and the host has counts.
func TestLeastMemory(t *testing.T) {
	const host = 8 << 30
	for _, tt := range []struct {
		name  string
		files map[string]string // in the group, and in the one above
		want  uint64
	}{
		{"no limit", map[string]string{"in/memory.max": "max\n"}, host},
		{"a limit", map[string]string{"in/memory.max": "1048576\n"}, 1 << 20},
		{"the group above has one", map[string]string{"in/memory.max": "max\n", "memory.max": "2097152\n"}, 2 << 20},
		{"version 1 has none", map[string]string{"in/memory.limit_in_bytes": "9223372036854771712\n"}, host},
		{"version 1", map[string]string{"in/memory.limit_in_bytes": "4194304\n"}, 4 << 20},
		{"nobody says", nil, host},
	} {
		dir := t.TempDir()
		in := filepath.Join(dir, "in")
		if err := os.Mkdir(in, 0o700); err != nil {
			t.Fatal(err)
		}
		for name, text := range tt.files {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if got := leastMemory(host, []string{in, dir}); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
	for text, want := range map[string]uint64{"MemFree: 1 kB\nMemTotal:    2048 kB\n": 2 << 20, "MemTotal:\n": 0, "": 0} {
		if got := memTotal(text); got != want {
			t.Errorf("memory of %q: %d, want %d", text, got, want)
		}
	}
}
