package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ringrun/ringrun/elastic/autopsy"
	"github.com/ringrun/ringrun/elastic/blackbox"
)

// pid waits until a worker has made steps, and returns its number.
func (l *launcher) pid(worker int) int {
	l.t.Helper()
	l.until(1, fmt.Sprintf(`^\[%d\] step \d1$`, worker))
	text := l.ringrun("status", "-json").ends(0)
	m := regexp.MustCompile(fmt.Sprintf(`"id":"p%d-[^\n]*"pid":(\d+)`, worker)).FindStringSubmatch(text)
	if m == nil {
		l.t.Fatalf("no worker %d in\n%s", worker, text)
	}
	pid, _ := strconv.Atoi(m[1])
	return pid
}

// Real processes die in all ways; what is left of them says how.
func TestAutopsy(t *testing.T) {
	t.Parallel()
	strike := func(signals ...syscall.Signal) func(l *launcher) {
		return func(l *launcher) {
			pid := l.pid(1)
			for i, s := range signals {
				if i > 0 {
					l.until(1, `^ringrun: view 3: 2 peers`)
				}
				if err := syscall.Kill(pid, s); err != nil {
					l.t.Fatal(err)
				}
			}
		}
	}
	for _, tt := range []struct {
		name   string
		args   string
		status int // of the run; -1: it is ended by SIGTERM
		during func(l *launcher)
		what   autopsy.What
		want   string
	}{
		{"killed", "", -1, func(l *launcher) { strike(syscall.SIGKILL)(l); l.until(1, `^\[0\] step [4-9]1$`) }, autopsy.Killed,
			`^p1 on host \S+ was killed by signal 9 \(SIGKILL\), at \d\d:\d\d:\d\d\.\d{3}, in step \d+ \(\w+(, bucket 1 of 1)?\); the others went on \d+(\.\d+)?ms later`},
		{"stopped", "-silence 0", -1, strike(syscall.SIGSTOP, syscall.SIGCONT), autopsy.Frozen,
			`^p1 on host \S+ (did not run for .* \(it was stopped, or got no processor\)|stopped: there is no sign of life from it since), and the others went on without it`},
		{"crash", "-steps 300 -crash p1", 1, nil, autopsy.Crashed,
			`^p1 on host \S+ crashed: panic: runtime error: index out of range \[5\] with length 0, at .*, in step 6 \(computing\); the others went on .* later, and ended well`},
		{"exit", "-steps 300 -exit p1", 1, nil, autopsy.Exited,
			`^p1 on host \S+ ended with status 3, without a word to the others: no such file, at .*, in step 6 \(computing\); the others went on`},
		{"stuck", "-slow p1", -1, func(l *launcher) { l.until(1, `^ringrun: step 5 waits for p1`) }, autopsy.Stuck,
			`^p1 on host \S+ kept the others waiting: computing.*, at .*, in step 6; nobody made a step after that$`},
		{"well", "-steps 20", 0, nil, "", `^nothing went wrong: 3 peers ended well after step 20`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			l := s.ringrun(append([]string{"-n", "3", "-min-n", "2", "-restart", "never", "-silence", "3s", trainerProg(t)}, strings.Fields(tt.args)...)...)
			if tt.during != nil {
				tt.during(l)
			}
			if status := tt.status; status >= 0 {
				l.ends(status)
			} else {
				l.until(1, `^ringrun: (view 3|step 5)`)
				l.signal(syscall.SIGTERM)
				<-l.done
			}
			s.ringrun("autopsy").ends(0, tt.want, `^PEER +HOST`, `^run \w{8}, `)
			var r autopsy.Report
			if err := json.Unmarshal([]byte(s.ringrun("autopsy", "-json").ends(0)), &r); err != nil {
				t.Fatal(err)
			}
			if r.Fault != nil && r.Fault.What != tt.what || r.Fault == nil && tt.what != "" || len(r.Peers) != 3 {
				t.Errorf("fault %+v, %d peers", r.Fault, len(r.Peers))
			}
		})
	}
}

// While a run goes on its peers are asked, and a folder of boxes is as good.
func TestAutopsyOfTheLiving(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.ringrun("autopsy").ends(2, `no run of this user has left a black box here`)
	l := s.ringrun("-n", "2", trainerProg(t))
	l.pid(1)
	s.ringrun("autopsy").ends(0, `^nothing went wrong so far: the run goes on, after step \d+`, `from .*boxes, 2 of the 2 peers of the run`)
	addr := l.until(1, `-join (\S+) `)[0][1]
	s.ringrun("autopsy", "-all", addr).ends(0, `p1: listens at `, `from 2 of the 2 peers of the run$`)
	l.signal(syscall.SIGTERM)
	<-l.done
	dirs, _ := filepath.Glob(filepath.Join(s.dir, ".local", "state", "ringrun", "*", "boxes"))
	if len(dirs) != 1 {
		t.Fatalf("folders %q", dirs)
	}
	run := filepath.Base(filepath.Dir(dirs[0]))
	for _, arg := range []string{dirs[0], filepath.Dir(dirs[0]), run, run[:4]} {
		s.ringrun("autopsy", arg).ends(0, `^run `+run+`, `)
	}
	s.ringrun("autopsy", "zz").ends(2, `there is no run zz, nor a folder of that name; there are `+run)
	boxes, ends, bad, err := blackbox.ReadFolder(dirs[0])
	if err != nil || len(boxes) != 2 || len(ends) != 2 || len(bad) > 0 {
		t.Errorf("%d boxes, %v, %q, %v", len(boxes), ends, bad, err)
	}
	secret := regexp.MustCompile(`[0-9a-f]{64}`)
	files, _ := filepath.Glob(filepath.Join(dirs[0], "*"))
	for _, name := range files {
		b, err := os.ReadFile(name)
		if st, err2 := os.Stat(name); err != nil || err2 != nil || st.Mode().Perm() != 0o600 || secret.Match(b) {
			t.Errorf("%s: %v, %v, or something like a secret in it", name, err, st.Mode())
		}
	}
}

// Only the boxes of the last runs stay, and those of runs that go on.
func TestOldBoxes(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	begin := time.Now().Add(-time.Hour)
	var dirs []string
	for i := range keptRuns + 3 {
		dir, err := boxFolder(fmt.Sprint("run", i))
		if err != nil || os.MkdirAll(dir, 0o700) != nil {
			t.Fatal(err)
		}
		if i == 0 { // a peer of the oldest runs: this process
			h := blackbox.Header{ID: "p0", Boot: blackbox.Boot(), PID: os.Getpid()}
			h.Start, _, _ = blackbox.StartOf(h.PID)
			b, err := blackbox.Create(dir, h)
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
		}
		at := begin.Add(time.Duration(i) * time.Minute)
		if err := os.Chtimes(dir, at, at); err != nil {
			t.Fatal(err)
		}
		dirs = append(dirs, dir)
	}
	if err := os.WriteFile(filepath.Join(filepath.Dir(dirs[1]), "worker-0.log"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if dir := boxesFor("new"); !isFolder(dir) {
		t.Errorf("no folder %s", dir)
	}
	for i, dir := range dirs {
		if _, _, onLinux := blackbox.StartOf(os.Getpid()); i == 0 && !onLinux {
			continue
		}
		if want := i == 0 || i > 3; isFolder(dir) != want {
			t.Errorf("run %d: there is %v, want %v", i, !want, want)
		}
	}
	if isFolder(filepath.Dir(dirs[2])) || !isFolder(filepath.Dir(dirs[1])) {
		t.Error("the folder of an old run goes with its boxes, if there is nothing else in it")
	}
}

func TestOOMKills(t *testing.T) {
	name := filepath.Join(t.TempDir(), "memory.events")
	h := hunger{files: []string{"/nonexistent", name}}
	for _, tt := range []struct {
		text string
		want bool
	}{{"low 0\noom 1\noom_kill 3\n", true}, {"oom_kill 3\noom_group_kill 7\n", true}, {"oom_kill 0\n", false}} {
		if err := os.WriteFile(name, []byte(tt.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := h.grew(); got != tt.want {
			t.Errorf("with %q: %v, want %v", tt.text, got, tt.want)
		}
	}
}

// A coroner keeps the line with which a program crashed, unless it ended otherwise.
func TestCoroner(t *testing.T) {
	lines := "all is well\npanic: first [recovered]\n\tpanic: again\n\ngoroutine 1 [running]:\nexit status 2\n"
	for _, tt := range []struct {
		e     event
		crash string
	}{
		{event{Status: 2}, "panic: first [recovered]"}, {event{Status: 1}, ""},
		{event{Signal: syscall.SIGSEGV}, "panic: first [recovered]"}, {event{Signal: syscall.SIGKILL}, ""},
	} {
		c := &coroner{dir: t.TempDir(), end: blackbox.End{ID: "p0"}, hunger: &hunger{}}
		for line := range strings.Lines(lines) {
			c.hear([]byte(line))
		}
		c.gone()
		end := c.ends(tt.e, nil, "")
		if end.Crash != tt.crash || end.Last != "exit status 2" || end.Number != int(tt.e.Signal) {
			t.Errorf("%+v: %+v", tt.e, end)
		}
		if _, ends, _, err := blackbox.ReadFolder(c.dir); err != nil || len(ends) != 1 || ends[0] != *end {
			t.Errorf("read %v, %v", ends, err)
		}
	}
}

// What the hosts of a run have kept is fetched from them, by the machine that started
// it and by any other.
func TestAutopsyOfHosts(t *testing.T) {
	t.Parallel()
	s := newStage(t).withHosts()
	s.ringrun("-H", "a,b:2", "-restart", "never", trainerProg(t), "-steps", "300", "-crash", "p1").ends(1)
	text := s.ringrun("autopsy", "-H", "a,b,dead").ends(0,
		`^p1 on host \S+ crashed: panic: runtime error: .*, in step 6 \(computing\); the others went on .* later, and ended well`,
		`; from .*boxes, host a, host b`, `^host dead: .*Connection refused`)
	run := regexp.MustCompile(`(?m)^run (\w{8}), `).FindStringSubmatch(text)[1]

	elsewhere := &stage{t: t, dir: t.TempDir(), mark: s.mark, env: s.env}
	elsewhere.env = append(elsewhere.env[:len(s.env):len(s.env)], "HOME="+elsewhere.dir, "XDG_RUNTIME_DIR="+elsewhere.dir)
	elsewhere.ringrun("autopsy", "-H", "a,b").ends(2, `name the RUN`)
	elsewhere.ringrun("autopsy", "-H", "a,b", "../"+run).ends(2, `is no name of a run`)
	elsewhere.ringrun("autopsy", "-H", "a,b", "12345678").ends(1, `nothing is left of run 12345678: host a: it has no black boxes of that run; host b: `)
	elsewhere.ringrun("autopsy", "-H", "a,b", run).ends(0, `^p1 on host \S+ crashed: panic: `, `; from host a, host b`)
}

// What a host sends is files of a folder, or an error; a login shell may say more.
func TestUnpackBoxes(t *testing.T) {
	for _, tt := range []struct {
		said string
		want error
	}{
		{"welcome\n" + marker + "file 2 x.box\nab\n" + marker + "file 0 y.end\n\n" + marker + "end\n", nil},
		{marker + "none\n", errNoBoxes},
		{"", errCutBoxes},
		{marker + "file 2 x.box\na", errCutBoxes},
		{marker + "file 2 x.box\nab\n", errCutBoxes},
		{marker + "file 2 ../x.box\nab\n" + marker + "end\n", errCutBoxes},
		{marker + "file 2 ..\nab\n" + marker + "end\n", errCutBoxes},
		{marker + "file 99999999 x.box\nab\n" + marker + "end\n", errCutBoxes},
		{marker + "file -1 x.box\n" + marker + "end\n", errCutBoxes},
	} {
		dir := t.TempDir()
		if err := unpackBoxes(strings.NewReader(tt.said), dir); !errors.Is(err, tt.want) {
			t.Errorf("%q: %v, want %v", tt.said, err, tt.want)
		}
		if b, err := os.ReadFile(filepath.Join(dir, "x.box")); tt.want == nil && (err != nil || string(b) != "ab") {
			t.Errorf("%q: %q, %v", tt.said, b, err)
		}
	}
}
