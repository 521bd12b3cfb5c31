package main

import (
	"strings"
	"syscall"
	"testing"
	"time"
)

// Whoever fails each time, as soon as it is in the group, is not started for ever.
func TestRestartEnds(t *testing.T) {
	l := newStage(t).ringrun("-n", "2", "-restart", "1", workerProg(t), "-stay", "p0", "-exit", "3", "-why", "cannot count")
	l.until(1, `^ringrun: worker 1 \(with status 3\): starts again in .* as worker 2, 1 of 1$`)
	l.until(1, `^ringrun: worker 2 \(with status 3\): its place on host localhost has lost 2 workers within \d+(\.\d)?s, `+
		`and stays empty for 20m0s \(-restart 1\)$`)
	l.endStaying("0")
	l.ends(1, `^ringrun: the job failed: 1 of 2 workers failed$`)
}

func (l *launcher) endStaying(worker string) {
	l.t.Helper()
	kill(l.t, l.until(1, `^\[`+worker+`\] waiting (\d+)`)[0][1], syscall.SIGTERM)
}

// A place is left empty where another worker would not do better, or nobody
// wants one.
func TestNoRestart(t *testing.T) {
	prog := workerProg(t)
	for name, tt := range map[string]struct {
		args   string
		status int
	}{
		"never":                          {"-restart never " + prog + " -stay p0 -suicide", 0},
		"before it is in the group":      {prog + " -stay p0 -on p1 -early 3", 1},
		"all die":                        {prog + " -suicide", 1},
		"all fail":                       {prog + " -exit 3", 1},
		"the others have done their job": {prog + " -on p1 -suicide", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newStage(t).ringrun(append([]string{"-n", "2"}, strings.Fields(tt.args)...)...)
			if name == "before it is in the group" {
				l.until(1, `^ringrun: worker 1 failed with status 3`)
				l.signal(syscall.SIGTERM) // the founder waits for it
				tt.status = 128 + int(syscall.SIGTERM)
			} else if strings.Contains(tt.args, "-stay") {
				l.until(1, `^ringrun: worker 1 `)
				time.Sleep(2 * restartHold) // nothing tells what does not happen
				l.endStaying("0")
			}
			if text := l.ends(tt.status); strings.Contains(text, "starts again") {
				t.Errorf("a worker is started again:\n%s", text)
			}
		})
	}
}

func TestParseRestart(t *testing.T) {
	for s, want := range map[string]int{"never": 0, "0": 0, "3": 3, "-1": -1, "often": -1, "": -1, "3x": -1} {
		got, err := parseRestart(s)
		if (err != nil) != (want < 0) || err == nil && got != want {
			t.Errorf("parseRestart(%q) = %d, %v; want %d", s, got, err, want)
		}
	}
}
