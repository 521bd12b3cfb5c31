package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestDetach(t *testing.T) {
	for _, hosts := range []string{"localhost:3", "a:2,b"} {
		t.Run(hosts, func(t *testing.T) {
			s := newStage(t).withHosts()
			state := t.TempDir()
			s.env = append(s.env, "XDG_STATE_HOME="+state, "TEST_SESSION=1")
			s.ringrun("-H", hosts, "-detach", trainerProg(t)).ends(0,
				`^ringrun: 3 workers go on without this launcher; see ringrun status \d+\.\d`)
			follow := s.ringrun("logs", "-f")
			follow.until(3, `^\[\d\] step \d1$`)
			s.ringrun("status").ends(0, `^2 +p2-\w+`)
			s.ringrun("logs").ends(0, `^\[0\] step 1$`, `^\[2\] step 1$`)
			s.ringrun("stop").ends(0, `^ringrun: asking 3 peers to end$`)
			follow.ends(0)
			s.ringrun("status").ends(2, `no run of this user goes on here`)
			logs, _ := filepath.Glob(filepath.Join(state, "ringrun", "*", "worker-2.log"))
			if len(logs) != 1 {
				t.Fatalf("logs of worker 2: %q", logs)
			}
			if b, err := os.ReadFile(logs[0]); err != nil || !strings.HasPrefix(string(b), "step 1\nstep 11\n") {
				t.Errorf("%s: %.40q, %v", logs[0], b, err)
			}
		})
	}
}

func TestOutput(t *testing.T) {
	s := newStage(t)
	dir := filepath.Join(t.TempDir(), "out")
	s.ringrun("-n", "2", "-output", dir, workerProg(t), "-long", "10").ends(0, `^\[1\] xxxxxxxxxx\.$`)
	b, err := os.ReadFile(filepath.Join(dir, "worker-1.log"))
	if err != nil || !strings.Contains(string(b), "xxxxxxxxxx.\nno end\n") {
		t.Errorf("worker 1 wrote %q, %v", b, err)
	}
	s.ringrun("-output", "/proc/none", workerProg(t)).ends(1, `^ringrun: worker 0 does not start on host localhost: a folder for the output: `)
}
