package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ringrun/ringrun/elastic"
)

// A traceEvent is one of "Trace Event Format"; times are in microseconds.
type traceEvent struct {
	Name string         `json:"name"`
	Cat  string         `json:"cat"`
	Ph   string         `json:"ph"`
	Ts   *float64       `json:"ts"`
	Dur  *float64       `json:"dur"`
	PID  *int           `json:"pid"`
	TID  *int           `json:"tid"`
	Args map[string]any `json:"args"`
}

func (e traceEvent) end() float64 { return *e.Ts + *e.Dur }

// readTrace reads a file and checks it by the rules of the format: what each kind
// of event must have, and that spans of a thread nest.
func readTrace(t testing.TB, file string) []traceEvent {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	in := json.NewDecoder(bytes.NewReader(b))
	in.DisallowUnknownFields()
	var events []traceEvent
	if err := in.Decode(&events); err != nil {
		t.Fatalf("%v in %.200s", err, b)
	}
	threads := map[[2]int][]traceEvent{}
	for _, e := range events {
		if e.Name == "" || e.PID == nil || e.TID == nil {
			t.Fatalf("without name, pid or tid: %+v", e)
		}
		switch e.Ph {
		case "X":
			if e.Ts == nil || e.Dur == nil || *e.Ts < 0 || *e.Dur < 0 {
				t.Fatalf("a span without ts or dur: %+v", e)
			}
			at := [2]int{*e.PID, *e.TID}
			threads[at] = append(threads[at], e)
		case "C":
			if e.Ts == nil || len(e.Args) == 0 {
				t.Fatalf("a counter without ts or args: %+v", e)
			}
		case "M":
			if name, ok := e.Args["name"].(string); !ok || name == "" {
				t.Fatalf("metadata without a name: %+v", e)
			}
		default:
			t.Fatalf("ph %q", e.Ph)
		}
	}
	for at, spans := range threads {
		checkNesting(t, at, spans)
	}
	return events
}

func checkNesting(t testing.TB, at [2]int, spans []traceEvent) {
	t.Helper()
	slices.SortStableFunc(spans, func(a, b traceEvent) int {
		return cmp.Or(cmp.Compare(*a.Ts, *b.Ts), -cmp.Compare(*a.Dur, *b.Dur))
	})
	const rounding = 0.002
	var open []traceEvent
	for _, e := range spans {
		for len(open) > 0 && open[len(open)-1].end() <= *e.Ts+rounding {
			open = open[:len(open)-1]
		}
		if n := len(open); n > 0 && e.end() > open[n-1].end()+rounding {
			t.Fatalf("pid %d, tid %d: %q from %.3f to %.3f overlaps %q from %.3f to %.3f", at[0], at[1],
				e.Name, *e.Ts, e.end(), open[n-1].Name, *open[n-1].Ts, open[n-1].end())
		}
		open = append(open, e)
	}
}

// processOf returns the process of a peer: they are in the order in which they came.
func processOf(t testing.TB, events []traceEvent, id string) int {
	t.Helper()
	for _, e := range events {
		if name, ok := e.Args["name"].(string); ok && e.Name == "process_name" && strings.HasPrefix(name, id) {
			return *e.PID
		}
	}
	t.Fatalf("%s is not in the trace", id)
	return 0
}

// phases returns the names of the phases of a process, with how often each is
// there, when the first begins, when the last ends, and how long all take.
func phases(events []traceEvent, pid int) (seen map[string]int, begin, end, sum float64) {
	seen, begin = map[string]int{}, -1
	for _, e := range events {
		if e.Ph != "X" || *e.PID != pid || e.Cat != "phase" {
			continue
		}
		if begin < 0 || *e.Ts < begin {
			begin = *e.Ts
		}
		end = max(end, e.end())
		sum += *e.Dur
		seen[e.Name]++
	}
	return seen, begin, end, sum
}

func TestTraceCommand(t *testing.T) {
	s := newStage(t)
	l := s.ringrun("-n", "2", trainerProg(t))
	l.until(2, `^\[\d\] step 1$`)
	file := filepath.Join(s.dir, "trace.json")
	s.ringrun("trace", "-for", "2s", "-o", file).ends(0, `^ringrun: .*trace.json: \d+ spans of 2 peers$`)
	l.signal(syscall.SIGTERM)
	l.ends(128 + int(syscall.SIGTERM))
	events := readTrace(t, file)
	for peer := range 2 {
		seen, begin, end, sum := phases(events, peer)
		if wall := end - begin; wall < 0.5e6 || sum < 0.95*wall || sum > 1.05*wall {
			t.Errorf("peer %d: spans of %v µs in all, over %v µs", peer, sum, wall)
		}
		if seen["computing"] < 5 || seen["reducing"] < 5 {
			t.Errorf("peer %d: spans %v", peer, seen)
		}
	}
}

// A run is recorded from its first step to its last; that a peer is killed does
// not spoil the file.
func TestTraceOfRun(t *testing.T) {
	s := newStage(t)
	file := filepath.Join(s.dir, "run.json")
	began := time.Now()
	l := s.ringrun("-n", "3", "-trace", file, trainerProg(t), "-steps", "150", "-buckets", "7", "-slow", "p2-")
	stuck := l.until(1, `^\[2\] stuck (\d+)$`)
	kill(t, stuck[0][1], syscall.SIGKILL)
	l.ends(0, `^ringrun: .*run.json: \d+ spans of 3 peers$`)
	wall := time.Since(began)
	events := readTrace(t, file)
	buckets, waited, bytes := 0, 0, 0.0
	views := map[string]bool{}
	for _, e := range events {
		switch {
		case e.Cat == "collective" && strings.HasPrefix(e.Name, "bucket "):
			buckets++
			if e.Args["algorithm"] == "" || e.Args["bytes"].(float64) < 500 {
				t.Fatalf("%+v", e)
			}
			if _, ok := e.Args["waited for"]; ok {
				waited++
			}
		case e.Cat == "view":
			views[e.Name] = true
		case e.Ph == "C":
			bytes += e.Args["sent"].(float64)
		}
	}
	if buckets < 2*145*7 || waited == 0 || bytes < 150*1000 || !views["view 3 of 2"] {
		t.Errorf("%d buckets, for %d a peer was waited, %v bytes, views %v", buckets, waited, bytes, views)
	}
	for _, peer := range []string{"p0-", "p1-"} {
		seen, begin, end, sum := phases(events, processOf(t, events, peer))
		if took := end - begin; sum < 0.95*took || sum > 1.05*took || took > float64(wall.Microseconds()) {
			t.Errorf("peer %s: spans of %v µs in all, over %v µs", peer, sum, took)
		}
		if seen["applying"] != 150 {
			t.Errorf("peer %s: spans %v, want 150 steps", peer, seen)
		}
	}
	s.ringrun("-trace", file, "-detach", trainerProg(t)).ends(2, `-detach`)
	s.ringrun("-trace-steps", "5", trainerProg(t)).ends(2, `-trace FILE`)
}

// Of a long run the last part is kept.
func TestTraceRotates(t *testing.T) {
	file := filepath.Join(t.TempDir(), "long.json")
	now := time.Now()
	tl, err := newTimeline(file, 20_000, now)
	if err != nil {
		t.Fatal(err)
	}
	peers := []*tracedPeer{tl.peer(`p0-"a"`), tl.peer("p1-é")}
	at := now.UnixNano()
	for i := range 1000 {
		for _, p := range peers {
			tl.add(p, elastic.Span{Track: elastic.Phases, Name: "computing", Begin: at, End: at + 1000, Step: uint64(i)}, now)
			tl.add(p, elastic.Span{Track: elastic.Collectives, Name: "bucket 0", Begin: at - 10, End: at + 1010, Seq: uint64(i), Epoch: 2}, now)
		}
		tl.settle(2, now)
		at += 1000
	}
	if err := tl.close(); err != nil {
		t.Fatal(err)
	}
	last := 0.0
	for _, name := range []string{file, filepath.Join(filepath.Dir(file), "long.1.json")} {
		events := readTrace(t, name)
		if st, _ := os.Stat(name); st.Size() > 25_000 || len(events) < 20 {
			t.Errorf("%s: %d bytes, %d events", name, st.Size(), len(events))
		}
		if events[0].Ph != "M" || events[0].Args["name"] != `p0-"a"` {
			t.Errorf("%s begins with %+v", name, events[0])
		}
		for _, e := range events {
			if step, ok := e.Args["step"].(float64); ok {
				last = max(last, step)
			}
		}
	}
	if names, _ := filepath.Glob(filepath.Join(filepath.Dir(file), "*")); last != 999 || len(names) != 2 {
		t.Errorf("the last step recorded is %v, in %q", last, names)
	}
}

// A time that is none is a mistake of who gave it, not of a peer.
func TestTraceTime(t *testing.T) {
	s := newStage(t)
	s.ringrun("trace", "-for", "-1s").ends(2, `^ringrun: -for -1s: want a time above 0`)
}
