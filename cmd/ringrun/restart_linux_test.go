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

// A run of two that needs two waits for the heir of one that was killed. One more
// has to wait until there is room.
func TestMinAndMax(t *testing.T) {
	s := newStage(t)
	l := s.ringrun("-n", "2", "-min-n", "2", "-max-n", "2", trainerProg(t))
	addr := l.until(1, `^ringrun: listening; one more peer: ringrun -join (\S+) `)[0][1]
	l.until(2, `^\[\d\] step`)
	third := s.ringrun("-join", addr, trainerProg(t))
	third.until(1, `the group has as many peers as it may have: this one waits until one of them leaves`)
	kill(t, s.pidOf("p1-"), syscall.SIGKILL)
	third.until(1, `^\[0\] step`)
	id := l.until(1, `^ringrun: view \d+: 2 peers \(.*(p0-\w{8}) joined\)$`)[0][1]
	l.until(1, `^ringrun: worker 1 .* starts again .* as worker 2`)
	l.until(1, `^ringrun: worker 2 waits: the run has the 2 peers of -max-n$`)
	s.ringrun("drain", "-at", addr, id).ends(0)
	l.until(1, `^ringrun: 1 peer in view \d+, and -min-n is 2: nobody trains until there are more, for at most 1m0s$`)
	l.until(1, `^\[2\] step`)
	l.signal(syscall.SIGTERM)
	l.ends(128 + int(syscall.SIGTERM))
}
