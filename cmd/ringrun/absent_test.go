package main

import (
	"syscall"
	"testing"
)

// A program that does not call elastic.Run is not waited for for ever: if it is the
// founder, the run ends; if it is another one, that worker.
func TestNeverJoins(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.ringrun("-n", "2", "-start-timeout", "1s", workerProg(t), "-mute").ends(1,
		`^ringrun: worker 0 runs but has not called elastic.Run within 1s \(-start-timeout\): .*worker must call it, or what it does before takes longer$`)
	s.nothingLeft()
	l := s.ringrun("-n", "3", "-start-timeout", "2s", workerProg(t), "-on", "p1,p2", "-mute")
	l.until(1, `^ringrun: workers? 1(, 2)? runs? but ha(s|ve) not called elastic.Run within 2s .*; it is killed$`)
	for _, i := range []string{"1", "2"} {
		l.until(1, `^ringrun: worker `+i+` was killed by SIGKILL$`)
	}
	l.signal(syscall.SIGTERM)
	l.ends(128 + int(syscall.SIGTERM))
	s.ringrun("-start-timeout", "10ms", workerProg(t)).ends(2, `-start-timeout 10ms: want at least 1s`)
}
