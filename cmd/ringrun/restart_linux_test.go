package main

import (
	"strings"
	"syscall"
	"testing"
)

// A worker of a real run is killed, and another comes in its place. Who is ended
// by ringrun stop has none.
func TestRestart(t *testing.T) {
	s := newStage(t)
	l := s.ringrun("-n", "2", trainerProg(t))
	l.until(2, `^\[\d\] step`)
	kill(t, s.pidOf("p1-"), syscall.SIGKILL)
	l.until(1, `^ringrun: worker 1 was killed by SIGKILL$`)
	l.until(1, `^ringrun: worker 1 \(killed by SIGKILL\): starts again in \S+s as worker 2, 1 of 3$`)
	l.until(1, `^ringrun: view \d+: 2 peers \(p2 joined\)$`)
	l.until(1, `^\[2\] step`)
	s.ringrun("stop", "-grace", "1ms").ends(0)
	l.until(1, `^ringrun: the job failed: 0 workers finished`)
	if text := l.ends(1); strings.Count(text, "starts again") != 1 {
		t.Errorf("want one worker started again:\n%s", text)
	}
}
