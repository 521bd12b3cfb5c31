package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func scriptFile(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "faults")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// A run keeps its promises although two peers die, one joins and others are held
// up; chaos says so, and what it did.
func TestChaosOfAScript(t *testing.T) {
	file := scriptFile(t, `
kill p1 at step 10
stop p2 for 50ms
slow p0 2ms for 100ms
join at step 20
kill p0 at step 60`)
	newStage(t).ringrun("chaos", "-n", "3", "-hang", "1m", "-script", file, trainerProg(t), "-steps", "500").ends(0,
		`^ringrun: kill p1 at step 10$`, `^ringrun: over: stop p2 for 50ms$`, `^ringrun: join 1 at step 20$`,
		`^ringrun: view \d+: p2-\w+ p3-\w+$`,
		`^ringrun: 5 faults \(1 join, 1 slow, 1 stop, 2 kill\), 4 workers, 500 steps, `,
		`^ringrun: all promises kept: `)
}

func TestChaosOfASeed(t *testing.T) {
	needLong(t)
	newStage(t).ringrun("chaos", "-n", "3", "-seed", "5", "-faults", "8", "-pause", "100ms", "-without", "cut,drain,stop",
		trainerProg(t), "-steps", "800").ends(0,
		`^ringrun: faults of seed 5$`, `^ringrun: 8 faults`, `^ringrun: all promises kept: `)
}

// What goes wrong is said, and the status tells.
func TestChaosFindsWhatIsBroken(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.ringrun("chaos", "-n", "2", "-script", scriptFile(t, "wait 1ms"), workerProg(t), "-on", "p1", "-exit", "3", "-why", "cannot count").ends(1,
		`^ringrun: BROKEN: worker 1 ended with exit status 3: cannot count$`, `^ringrun: BROKEN: .* no step was reported$`)
	s.ringrun("chaos", "-n", "2", "-script", scriptFile(t, "kill p0 at step 1000"), trainerProg(t), "-steps", "20").ends(1,
		`^ringrun: BROKEN: .*the program had ended before all faults had happened`)
	s.ringrun("chaos", "-n", "2", "-hang", "300ms", "-timeout", "15s", "-script", scriptFile(t, "wait 1ms"), trainerProg(t), "-slow", "p1").ends(1,
		`^ringrun: BROKEN: not over after 15s$`, `^ringrun: BROKEN: no step for \S+, though`)
}

func TestChaosUsage(t *testing.T) {
	s := newStage(t)
	for _, tt := range []struct {
		args   string
		status int
		want   string
	}{
		{"chaos", 2, `no PROG`},
		{"chaos -n 0 true", 2, `-n 0: want 1 to`},
		{"chaos -script /nonexistent true", 2, `-script: open /nonexistent`},
		{"chaos -script " + scriptFile(t, "kill p9") + " true", 2, `-script .*: line 1, word 2: "p9", want a peer, p0 to p3`},
		{"chaos -script x -seed 1 true", 2, `-script and -seed: which of the two\?`},
		{"chaos -without rain true", 2, `-without rain: "rain" is no kind of fault`},
		{"witness", 2, `witness`},
		{"-on-partition panic true", 2, `-on-partition panic: want pause, stop or prefer=ID`},
	} {
		s.ringrun(strings.Fields(tt.args)...).ends(tt.status, tt.want)
	}
}

// A stall is what no excuse explains.
func TestStall(t *testing.T) {
	now := time.Unix(0, 0)
	s := stall{}
	for i, tt := range []struct {
		step, excused bool
		idle, longest time.Duration
	}{
		{true, false, 0, 0}, // there was no look before
		{true, false, 1, 1},
		{false, false, 2, 2},
		{false, true, 2, 2},
		{false, false, 3, 3},
		{true, false, 1, 3},
	} {
		if tt.step {
			s.step()
		}
		now = now.Add(time.Second)
		s.look(now, tt.excused)
		if s.idle != tt.idle*time.Second || s.longest != tt.longest*time.Second {
			t.Errorf("second %d: %v, at most %v; want %d s and %d s", i+1, s.idle, s.longest, tt.idle, tt.longest)
		}
	}
}

// A witness finds the run as any newcomer does, and ends with it.
func TestWitness(t *testing.T) {
	s := newStage(t)
	l := s.ringrun("-n", "2", trainerProg(t))
	addr := l.until(1, `-join (\S+) `)[0][1]
	l.until(2, `step 1`)
	w := s.ringrun("witness", addr)
	l.until(1, `^ringrun: view 3: 2 peers$`) // with a witness
	s.ringrun("stop").ends(0)
	l.ends(0)
	w.ends(0, `^ringrun: witness of the run at `, `^ringrun: the run has ended`)
	s.ringrun("witness", addr).ends(1, `nobody answers there`)
}
