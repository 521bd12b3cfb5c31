package main

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ringrun/ringrun/bench/plan"
	"github.com/ringrun/ringrun/elastic"
)

func TestPlan(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	svg := filepath.Join(t.TempDir(), "plan.svg")
	s.ringrun("plan", "-n", "64", "-params", "25M", "-batch", "32", "-compute", "180ms", "-bandwidth", "1Gbit", "-latency", "100us", "-plot", svg).ends(0,
		`^64 peers, 1 on each host; 25 M parameters of 4 bytes, codec raw; 180ms of computation in a step of 32 samples; links of 118 MB/s and 100µs$`,
		`^ +1 +180ms +0s +0s +0s +1\.00 +█{10} +1\.0 +178 *$`, `^ +64 +1\.\d+s `, `^limited by bandwidth: 196\.9 MB leave each host`,
		`^  -codec half +0\.\d\d → 0\.\d\d  \(gradients are rounded`)
	text, err := os.ReadFile(svg)
	if err != nil || strings.Count(string(text), "<circle") != 7 {
		t.Errorf("%v\n%s", err, text)
	}
	for d := xml.NewDecoder(strings.NewReader(string(text))); err == nil; {
		if _, err = d.Token(); err != nil && !errors.Is(err, io.EOF) {
			t.Error(err)
		}
	}
	var f forecast
	if err := json.Unmarshal([]byte(s.ringrun("plan", "-n", "3", "-slots", "3", "-params", "1M", "-compute", "1s", "-json").ends(0)), &f); err != nil {
		t.Fatal(err)
	}
	if n := len(f.Table); n != 3 || f.Table[2].Algorithm != "shared" || f.Table[2].Efficiency < 0.9 {
		t.Errorf("on one host: %+v", f.Table)
	}
	for args, want := range map[string]string{
		"plan": `-params: how many parameters`, "plan -params 1M": `-compute: what does a step`, "plan -params 1M -compute 1s": `-bandwidth: what do the links`,
		"plan -params x": `"x" is not a number such as 25M`, "plan -params 1M -compute 1s -bandwidth 3": `"3" is not a bandwidth`,
		"plan -params 1M -compute 1s -bandwidth 1Gbit -codec zstd": `codec "zstd"`, "plan -batch-policy x": `want constant, scale`,
		"plan -plot x.png": `want an \.svg`, "plan -params 1M -bucket 0": `"0" is not a size`, "plan -params 1M -compute 1s -bandwidth 1Gbit -n 0": `0 peers`,
	} {
		s.ringrun(strings.Fields(args)...).ends(2, want)
	}
}

// A run that goes on tells what plan needs.
func TestPlanFromARun(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	const atLeast20ms = `(?:(?:[2-9]\d|\d{3,})(?:\.\d+)?ms|[1-9]\d*(?:\.\d+)?s)`
	l := s.ringrun("-n", "2", "-transport", "tcp", trainerProg(t), "-pause", "20ms")
	l.pid(1)
	addr := l.until(1, `-join (\S+) `)[0][1]
	s.ringrun("plan", "-from", addr, "-n", "4").ends(0, `^4 peers, 1 on each host; .*codec raw; `+atLeast20ms+` of computation in a step; links of `,
		`^the run of 2 peers takes `+atLeast20ms+` a step \(\d+ steps seen\); the model says `)
	l.signal(syscall.SIGTERM)
	<-l.done
}

func TestCompareLooks(t *testing.T) {
	look := func(steps uint64, sent float64, computing float64) []answer {
		var all []answer
		for _, id := range []string{"a", "b", "c", "d"} {
			all = append(all, answer{Status: elastic.Status{
				ID: id, Epoch: 2, Steps: steps, Sent: uint64(sent), Codec: "half", Spent: map[elastic.Phase]float64{elastic.Computing: computing},
				Link: &elastic.StatusLink{Latency: 1e-4, Bandwidth: 1e8},
			}})
		}
		return all
	}
	p := &forecast{Setup: plan.Setup{Width: 4}}
	if err := p.compare(look(10, 0, 1), look(30, 20*3e6, 5), 4*time.Second); err != nil {
		t.Fatal(err)
	}
	if s := p.Setup; s.Peers != 4 || s.Params != 1e6 || s.Compute != 200*time.Millisecond || s.Link.Bandwidth != 1e8 || p.Run.Step != 200*time.Millisecond || p.Run.Predicted < s.Compute {
		t.Errorf("%+v, %+v", s, p.Run)
	}
	if err := p.compare(look(10, 0, 1), look(10, 0, 1), time.Second); err == nil {
		t.Error("no step was made, and there is no error")
	}
}

func TestLinksOfDoctor(t *testing.T) {
	name := filepath.Join(t.TempDir(), "doctor.json")
	for text, want := range map[string]plan.Link{
		`{"pairs":[{"from":"a","to":"b","ways":[{"rtt_ns":200000,"bandwidth":1e8},{"bandwidth":1}]},{"ways":[]},{"ways":[{"rtt_ns":100000,"bandwidth":5e7}]}]}`: {Latency: 120 * time.Microsecond, Bandwidth: 5e7},
		`{"pairs":[]}`: {}, `no JSON`: {},
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := slowestLink(name); got != want || (err == nil) != (want.Bandwidth > 0) {
			t.Errorf("%s: %+v, %v; want %+v", text, got, err, want)
		}
	}
}

func TestUnits(t *testing.T) {
	for s, want := range map[string]float64{
		"1Gbit": 1e9 / 8 * payload, "100 Mbit/s": 1e8 / 8 * payload, "10gbps": 1e10 / 8 * payload, "118MB": 118e6, "1.5GB/s": 1.5e9, "": 0, "Gbit": 0, "-1MB": 0, "1e9": 0, "NaNMB": 0,
	} {
		if got, err := parseBandwidth(s); math.Abs(got-want) > 1 || (err == nil) != (want > 0) {
			t.Errorf("bandwidth %q: %v, %v; want %v", s, got, err, want)
		}
	}
	for s, want := range map[string]int{"25M": 25e6, "1.5k": 1500, "7B": 7e9, "0": 0, "M": 0, "1e99": 0, "12": 12} {
		if got, err := parseCount(s); got != want || (err == nil) != (want > 0) {
			t.Errorf("count %q: %v, %v; want %v", s, got, err, want)
		}
	}
}
