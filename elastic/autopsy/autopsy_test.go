package autopsy

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ringrun/ringrun/elastic/blackbox"
)

// noon is when all stories begin; times in them are milliseconds after it.
var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.Local).UnixNano()

func ms(t int) int64 { return noon + int64(t)*int64(time.Millisecond) }

// A story is a run of peers p0, p1, …, each on a host of its own: a, b, ….
type story struct{ Case }

func run(peers int) *story {
	s := &story{}
	for i := range peers {
		s.Boxes = append(s.Boxes, blackbox.Recording{Header: blackbox.Header{
			Run: "r", ID: fmt.Sprintf("p%d-ab%d", i, i), Host: string(rune('a' + i)), Boot: fmt.Sprint("boot", i), PID: 100 + i,
			Limit: 8e9, Silent: int64(time.Second),
		}})
		s.note(i, 0, blackbox.Event{Kind: blackbox.Began})
	}
	return s.view(100, 2, seq(peers)...)
}

func seq(n int) (all []int) {
	for i := range n {
		all = append(all, i)
	}
	return all
}

func (s *story) id(i int) string { return s.Boxes[i].Header.ID }

func (s *story) note(i, t int, e blackbox.Event) *story {
	r := &s.Boxes[i]
	e.Seq, e.Time = uint64(len(r.Events)+1), ms(t)
	r.Events = append(r.Events, e)
	return s
}

func (s *story) view(t int, epoch uint64, peers ...int) *story {
	var ids []string
	for _, i := range peers {
		ids = append(ids, s.id(i))
	}
	for _, i := range peers {
		s.note(i, t, blackbox.Event{Kind: blackbox.View, Epoch: epoch, Peers: ids})
	}
	return s
}

func (s *story) wentOn(t int, epoch, step uint64, peers ...int) *story {
	for _, i := range peers {
		s.note(i, t, blackbox.Event{Kind: blackbox.WentOn, Epoch: epoch, Step: step})
	}
	return s
}

func (s *story) gauge(i, t, since int, phase string, step uint64) *story {
	s.Boxes[i].Gauge = blackbox.Gauge{Turn: 9, Time: ms(t), Since: ms(since), Phase: phase, Step: step, Memory: 7_900_000_000}
	return s
}

func (s *story) bucket(i int, begun, all uint32) *story {
	s.Boxes[i].Gauge.Bucket, s.Boxes[i].Gauge.Buckets = begun, all
	return s
}

func (s *story) done(t int, step uint64, peers ...int) *story {
	for _, i := range peers {
		s.gauge(i, t, t, "computing", step).note(i, t, blackbox.Event{Kind: blackbox.Done, Step: step})
	}
	return s
}

func (s *story) end(i, t int, e blackbox.End) *story {
	h := s.Boxes[i].Header
	e.ID, e.PID, e.Boot, e.Host, e.Time = h.ID, h.PID, h.Boot, h.Host, ms(t)
	s.Ends = append(s.Ends, e)
	return s
}

// clocks lets each peer compare its clock with the next one's.
func (s *story) clocks(t int) *story {
	for i := range s.Boxes {
		s.note(i, t, blackbox.Event{Kind: blackbox.Clock, Peer: s.id((i + 1) % len(s.Boxes)), Slack: int64(time.Millisecond)})
	}
	return s
}

var killed = blackbox.End{Signal: "SIGKILL", Number: 9}

// stories are runs of which something went wrong, and what is to be found.
var stories = []struct {
	name string
	tell func() *story
	what What
	want string // the cause
}{
	{"killed", func() *story {
		return run(3).clocks(150).gauge(2, 1220, 1200, "reducing", 117).bucket(2, 3, 7).end(2, 1221, killed).
			note(0, 1230, blackbox.Event{Kind: blackbox.Dead, Peer: "p2-ab2"}).
			view(1240, 3, 0, 1).wentOn(1259, 3, 118, 0, 1).done(9000, 300, 0, 1)
	}, Killed, "p2 on host c was killed by signal 9 (SIGKILL), at 12:00:01.221, in step 118 (reducing, bucket 3 of 7); the others went on 38ms later, and ended well"},
	{"killed, and others knew before its agent", func() *story {
		return run(3).clocks(150).gauge(2, 1220, 1200, "computing", 117).end(2, 1400, killed).
			note(0, 1223, blackbox.Event{Kind: blackbox.RingBroke, Epoch: 2, Text: "link to p2-ab2: EOF"}).
			note(0, 1230, blackbox.Event{Kind: blackbox.Dead, Peer: "p2-ab2"}).
			view(1240, 3, 0, 1).wentOn(1259, 3, 118, 0, 1).done(9000, 300, 0, 1)
	}, Killed, "p2 on host c was killed by signal 9 (SIGKILL), at 12:00:01.223, in step 118 (computing); the others went on 36ms later, and ended well"},
	{"out of memory", func() *story {
		e := killed
		e.OOM, e.Limit = true, 8e9
		return run(3).clocks(150).gauge(2, 1220, 1200, "computing", 117).end(2, 1221, e).view(1240, 3, 0, 1).wentOn(1259, 3, 118, 0, 1).done(9000, 300, 0, 1)
	}, OOM, "p2 on host c was killed by signal 9 (out of memory: 7.9 GB in use, the limit is 8.0 GB), at 12:00:01.221, in step 118 (computing); the others went on 38ms later, and ended well"},
	{"panic", func() *story {
		return run(2).clocks(150).gauge(1, 1200, 1200, "computing", 4).note(1, 1200, blackbox.Event{Kind: blackbox.Panicked, Text: "index out of range"}).
			end(1, 1210, blackbox.End{Status: 2, Crash: "panic: index out of range"}).view(1300, 3, 0).wentOn(1320, 3, 5, 0).done(2000, 9, 0)
	}, Crashed, "p1 on host b crashed: panic: index out of range, at 12:00:01.200, in step 5 (computing); the others went on 120ms later, and ended well"},
	{"panic elsewhere", func() *story {
		return run(2).clocks(150).gauge(1, 1200, 1200, "computing", 4).
			end(1, 1210, blackbox.End{Status: 2, Crash: "fatal error: concurrent map writes"}).view(1300, 3, 0).wentOn(1320, 3, 5, 0).done(2000, 9, 0)
	}, Crashed, "p1 on host b crashed: fatal error: concurrent map writes, at 12:00:01.210, in step 5 (computing); the others went on 110ms later, and ended well"},
	{"exit", func() *story {
		return run(2).clocks(150).end(1, 1210, blackbox.End{Status: 3, Last: "no such file"}).view(1300, 3, 0).wentOn(1320, 3, 5, 0).done(2000, 9, 0)
	}, Exited, "p1 on host b ended with status 3, without a word to the others: no such file, at 12:00:01.210; the others went on 110ms later, and ended well"},
	{"stopped, and back", func() *story {
		return run(3).clocks(150).view(3100, 3, 0, 1).wentOn(3120, 3, 8, 0, 1).
			note(2, 5200, blackbox.Event{Kind: blackbox.Lapse, Value: 3.2e9}).note(2, 5210, blackbox.Event{Kind: blackbox.Excluded, Epoch: 3}).
			view(5500, 4, 0, 1, 2).wentOn(5600, 4, 9, 0, 1, 2).done(9000, 300, 0, 1, 2)
	}, Frozen, "p2 on host c did not run for 3.2s (it was stopped, or got no processor), and the others went on without it; it joined again 290ms later, at 12:00:02.000; the others went on 1.1s later, and ended well"},
	{"stopped for good", func() *story {
		s := run(3).clocks(150).gauge(2, 2000, 1900, "computing", 7).view(3100, 3, 0, 1).wentOn(3120, 3, 8, 0, 1).gauge(0, 9000, 9000, "computing", 90)
		s.Look = func(h blackbox.Header) State {
			return map[string]State{"p0-ab0": Running, "p1-ab1": Running, "p2-ab2": Stopped}[h.ID]
		}
		return s
	}, Frozen, "p2 on host c was stopped (SIGSTOP, or a debugger), and still is, at 12:00:02.000, in step 8 (computing); the others went on 1.1s later"},
	{"stopped, and killed much later", func() *story {
		return run(3).clocks(150).gauge(2, 2000, 1900, "computing", 7).view(3100, 3, 0, 1).wentOn(3120, 3, 8, 0, 1).end(2, 60000, killed).done(70000, 90, 0, 1)
	}, Frozen, "p2 on host c stopped: there is no sign of life from it since, and the others went on without it, at 12:00:02.000, in step 8 (computing); the others went on 1.1s later, and ended well"},
	{"stopped, and ended before it knew", func() *story {
		s := run(3).clocks(150).gauge(2, 4010, 1900, "waiting", 7).view(3100, 3, 0, 1).wentOn(3120, 3, 8, 0, 1).
			note(2, 4000, blackbox.Event{Kind: blackbox.Lapse, Value: 2e9})
		e := blackbox.End{Asked: "SIGTERM by ringrun"}
		return s.end(0, 4020, e).end(1, 4020, e).end(2, 4020, e)
	}, Frozen, "p2 on host c did not run for 2s (it was stopped, or got no processor), and the others went on without it, at 12:00:02.000; the others went on 1.1s later"},
	{"stopped, and asked to leave before it knew", func() *story {
		return run(3).clocks(150).view(3100, 3, 0, 1).wentOn(3120, 3, 8, 0, 1).
			note(2, 5200, blackbox.Event{Kind: blackbox.Lapse, Value: 3.2e9}).note(2, 5205, blackbox.Event{Kind: blackbox.Draining}).
			note(2, 5210, blackbox.Event{Kind: blackbox.Excluded, Epoch: 3}).end(2, 5300, blackbox.End{Asked: "SIGTERM by ringrun"}).done(9000, 300, 0, 1)
	}, Frozen, "p2 on host c did not run for 3.2s (it was stopped, or got no processor), and the others went on without it, at 12:00:02.000; the others went on 1.1s later, and ended well"},
	{"cut off", func() *story {
		return run(3).clocks(150).note(0, 2500, blackbox.Event{Kind: blackbox.Suspect, Peer: "p2-ab2"}).view(3100, 3, 0, 1).wentOn(3120, 3, 8, 0, 1).
			note(2, 5210, blackbox.Event{Kind: blackbox.Excluded, Epoch: 3}).view(5500, 4, 0, 1, 2).done(9000, 300, 0, 1, 2)
	}, Cut, "p2 on host c was cut off: it ran, but heard nothing from the others, who went on without it; it joined again 290ms later, at 12:00:02.500; the others went on 620ms later, and ended well"},
	{"cut off, while all had little processor", func() *story {
		s := run(3).clocks(150)
		for i := range 3 {
			s.note(i, 2400, blackbox.Event{Kind: blackbox.Lapse, Value: 8e8})
		}
		return s.note(0, 2500, blackbox.Event{Kind: blackbox.Suspect, Peer: "p2-ab2"}).view(3100, 3, 0, 1).wentOn(3120, 3, 8, 0, 1).
			note(2, 5210, blackbox.Event{Kind: blackbox.Excluded, Epoch: 3}).view(5500, 4, 0, 1, 2).done(9000, 300, 0, 1, 2)
	}, Cut, "p2 on host c was cut off: it ran, but heard nothing from the others, who went on without it; it joined again 290ms later, at 12:00:02.500; the others went on 620ms later, and ended well"},
	{"host gone", func() *story {
		s := run(3).clocks(150).gauge(2, 2000, 1900, "computing", 7).view(3100, 3, 0, 1).wentOn(3120, 3, 8, 0, 1).done(9000, 300, 0, 1)
		s.Boxes[2].Header.Keeper = "p0-ab0"
		return s
	}, HostGone, "p2 on host c is gone, or out of reach, with its host: only the copy of its black box at p0 is left, at 12:00:02.000, in step 8 (computing); the others went on 1.1s later, and ended well"},
	{"diverged", func() *story {
		s := run(3).clocks(150)
		text := "peers have diverged: w0 of p1-ab1 differs from that of the others after step 8"
		for i := range 3 {
			s.note(i, 2000+i, blackbox.Event{Kind: blackbox.Diverged, Step: 8, Peers: []string{"p1-ab1"}, Text: text}).
				note(i, 2010+i, blackbox.Event{Kind: blackbox.Failed, Text: text}).end(i, 2050, blackbox.End{Status: 1, Last: text})
		}
		return s
	}, Diverged, "p1 on host b held other bits than the others: peers have diverged: w0 of p1 differs from that of the others after step 8, at 12:00:02.000, in step 8; nobody made a step after that"},
	{"stuck, and ended by hand", func() *story {
		s := run(2).clocks(150).gauge(1, 61000, 2000, "computing", 5).gauge(0, 61000, 2010, "reducing", 5).
			note(0, 3000, blackbox.Event{Kind: blackbox.Stalled, Step: 5, Peers: []string{"p1-ab1"}, Text: "p1-ab1 (computing, 1s, no bucket of 1)"})
		return s.end(0, 61200, killed).end(1, 61210, killed)
	}, Stuck, "p1 on host b kept the others waiting: computing since 12:00:02.000, for 59s, at 12:00:02.000, in step 6; nobody made a step after that"},
	{"stuck, and back too late", func() *story {
		s := run(2).clocks(150).gauge(1, 61000, 5000, "waiting", 5).gauge(0, 61000, 5000, "waiting", 5)
		s.note(0, 3000, blackbox.Event{Kind: blackbox.Stalled, Step: 5, Peers: []string{"p9-x", "p1-ab1"}, Text: "p9-x (does not answer), p1-ab1 (computing, 1s, no bucket of 1)"})
		e := blackbox.End{Asked: "SIGTERM by ringrun"}
		return s.end(0, 61200, e).end(1, 61210, e)
	}, Stuck, "p1 on host b kept the others waiting: computing, 1s, no bucket of 1, at 12:00:03.000, in step 6; nobody made a step after that"},
	{"disk full", func() *story {
		return run(2).clocks(150).note(0, 2000, blackbox.Event{Kind: blackbox.Checkpoint, Step: 100, Text: "write ckpt: no space left on device"}).done(9000, 300, 0, 1)
	}, DiskFull, "p0 on host a could not write a checkpoint, because the disk is full: write ckpt: no space left on device, at 12:00:02.000, in step 100"},
	{"partition", func() *story {
		s := run(4).clocks(150)
		for i := range 4 {
			other := [][]int{{2, 3}, {2, 3}, {0, 1}, {0, 1}}[i]
			text := fmt.Sprintf("no word since 12:00:02 from %s (x), %s (y), 2 of the 4 members of view 2", s.id(other[0]), s.id(other[1]))
			s.note(i, 3000+i, blackbox.Event{Kind: blackbox.Paused, Text: text}).gauge(i, 60000, 2000, "waiting", 9).end(i, 60000, killed)
			s.Ends[i].Asked = "SIGTERM, because ringrun got SIGINT"
		}
		return s
	}, Cut, "p0 on host a was cut off by the network from p2, p3, which ran, and those who could reach each other were too few to go on, at 12:00:03.000; nobody made a step after that"},
	{"too few left", func() *story {
		return run(2).clocks(150).gauge(1, 1200, 1100, "computing", 7).end(1, 1210, killed).view(1250, 3, 0).
			note(0, 1260, blackbox.Event{Kind: blackbox.Failed, Text: "too few peers left: 1, at least 2 wanted"}).end(0, 1270, blackbox.End{Status: 1})
	}, Killed, "p1 on host b was killed by signal 9 (SIGKILL), at 12:00:01.210, in step 8 (computing); nobody made a step after that"},
	{"never let in", func() *story {
		return run(1).note(0, 5000, blackbox.Event{Kind: blackbox.Failed, Text: "p0-ab0 was not let in"}).end(0, 5010, blackbox.End{Status: 1})
	}, Error, "p0 on host a failed: p0 was not let in, at 12:00:05.000"},
	{"the launcher is gone", func() *story {
		e := blackbox.End{Signal: "SIGTERM", Number: 15, Asked: "SIGTERM, because the launcher was gone"}
		return run(2).clocks(150).end(0, 3000, e).end(1, 3010, e)
	}, Ended, "p0 on host a was ended: SIGTERM, because the launcher was gone, at 12:00:03.000"},
	{"the second of two", func() *story {
		return run(3).clocks(150).end(1, 2000, killed).view(2030, 3, 0, 2).wentOn(2050, 3, 8, 0, 2).
			gauge(2, 60000, 60000, "reducing", 600).end(2, 60010, killed).view(60050, 4, 0).wentOn(60090, 4, 601, 0).done(70000, 900, 0)
	}, Killed, "p2 on host c was killed by signal 9 (SIGKILL), at 12:01:00.010, in step 601 (reducing); the others went on 80ms later, and ended well"},
	{"well", func() *story { return run(3).clocks(150).done(9000, 300, 0, 1, 2) }, "",
		"nothing went wrong: 3 peers ended well after step 300"},
	{"drained", func() *story {
		return run(3).clocks(150).note(2, 2000, blackbox.Event{Kind: blackbox.Draining}).note(2, 2100, blackbox.Event{Kind: blackbox.Drained, Step: 30}).
			view(2110, 3, 0, 1).wentOn(2120, 3, 31, 0, 1).done(9000, 300, 0, 1)
	}, "", "nothing went wrong: 2 peers ended well after step 300, 1 had been drained"},
	{"drained, and told so by the others' view", func() *story {
		return run(3).clocks(150).note(2, 2000, blackbox.Event{Kind: blackbox.Draining}).note(2, 2090, blackbox.Event{Kind: blackbox.Excluded, Epoch: 3}).
			note(2, 2100, blackbox.Event{Kind: blackbox.Drained, Step: 30}).view(2080, 3, 0, 1).wentOn(2120, 3, 31, 0, 1).done(9000, 300, 0, 1)
	}, "", "nothing went wrong: 2 peers ended well after step 300, 1 had been drained"},
	{"nothing", func() *story { return &story{} }, "", "nothing is left of this run"},
}

func TestCauses(t *testing.T) {
	for _, tt := range stories {
		t.Run(tt.name, func(t *testing.T) { check(t, tt.tell().Case, tt.what, tt.want) })
	}
}

func check(t *testing.T, c Case, what What, want string) Report {
	t.Helper()
	r := Examine(c)
	if r.Cause != want {
		t.Errorf("cause\n%q, want\n%q", r.Cause, want)
	}
	if got := r.Fault; what != "" && (got == nil || got.What != what) {
		t.Errorf("fault %+v, want %s", got, what)
	}
	return r
}

// Clocks that go wrong by up to an hour do not change what is found, nor the order
// of what happened, as far as they have been compared.
func TestSkewedClocks(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 1))
		tt := stories[rng.IntN(len(stories))]
		if tt.what == Stuck || tt.name == "nothing" { // which gives a time of day in its text
			continue
		}
		s := tt.tell()
		straight := Examine(s.Case)
		skew := make([]int64, len(s.Boxes))
		for i := range skew {
			if i > 0 { // times are given by the clock of the first
				skew[i] = rng.Int64N(int64(2*time.Hour)) - int64(time.Hour)
			}
		}
		s.skew(skew, rng)
		r := check(t, s.Case, tt.what, tt.want)
		if len(r.Unaligned) > 0 && len(s.Boxes) > 1 {
			t.Errorf("not aligned: %q", r.Unaligned)
		}
		if got, want := texts(r.Timeline), texts(straight.Timeline); !slices.Equal(got, want) {
			t.Errorf("timeline\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		if t.Failed() {
			t.Fatalf("seed %d, %s", seed, tt.name)
		}
	}
}

func texts(lines []Line) (all []string) {
	for _, l := range lines {
		if !strings.Contains(l.Text, "clock of") {
			all = append(all, l.Text)
		}
	}
	return all
}

// skew lets the clock of each host be ahead, and peers find that out, some better
// than others: those who are far off say so.
func (s *story) skew(by []int64, rng *rand.Rand) {
	for i := range s.Boxes {
		r := &s.Boxes[i]
		for j := range r.Events {
			e := &r.Events[j]
			e.Time += by[i]
			if e.Kind == blackbox.Clock {
				e.Value = by[(i+1)%len(by)] - by[i]
			}
		}
		if r.Gauge.Turn > 0 {
			r.Gauge.Time += by[i]
			r.Gauge.Since += by[i]
		}
		wrong := rng.Int64N(int64(time.Minute))
		s.note(i, 160, blackbox.Event{Kind: blackbox.Clock, Peer: s.id((i + 1) % len(by)), Value: by[(i+1)%len(by)] - by[i] + wrong, Slack: int64(time.Minute)})
		r.Events[len(r.Events)-1].Time = ms(160) + by[i]
		for j := range s.Ends {
			if s.Ends[j].Boot == r.Header.Boot {
				s.Ends[j].Time += by[i]
			}
		}
	}
}

// A host whose clock nobody has compared is named.
func TestUnaligned(t *testing.T) {
	r := Examine(run(2).done(9000, 300, 0, 1).Case)
	if !slices.Equal(r.Unaligned, []string{"p1"}) {
		t.Errorf("unaligned: %q", r.Unaligned)
	}
}

// The timeline says once what several say, and leaves out details unless they are
// asked for.
func TestTimeline(t *testing.T) {
	s := stories[0].tell()
	for i := range 500 {
		s.note(0, 300+i, blackbox.Event{Kind: blackbox.Steps, Step: uint64(i)})
	}
	r := Examine(s.Case)
	lines := Important(r.Timeline, r.Fault, 40)
	var got []string
	for _, l := range lines {
		got = append(got, fmt.Sprintf("%s %s: %s", at(l.Time), strings.Join(l.Peers, " "), l.Text))
	}
	want := []string{
		"12:00:00.000 p0 p1 p2: started", "12:00:00.100 p0 p1 p2: view 2: p0 p1 p2", "12:00:01.221 p2: was killed by signal 9 (SIGKILL)",
		"12:00:01.230 p0: p2 is proven dead", "12:00:01.240 p0 p1: view 3: p0 p1", "12:00:01.259 p0 p1: made step 118, the first of view 3",
		"12:00:09.000 p0 p1: done after step 300",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if len(r.Timeline) < 500 {
		t.Errorf("%d lines in all", len(r.Timeline))
	}
	if few := Important(r.Timeline, r.Fault, 2); len(few) > 2 || !slices.ContainsFunc(few, func(l Line) bool { return l.Weight == 3 }) {
		t.Errorf("the two most important lines are %v", few)
	}
}
