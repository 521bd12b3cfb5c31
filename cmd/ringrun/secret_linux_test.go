package main

import (
	"strings"
	"testing"
)

// No process of a run, here or beyond ssh, shows the secret to those who list
// processes.
func TestSecretIsNotShown(t *testing.T) {
	s := newStage(t).withHosts()
	const secret = "000102030405060708090a0b0c0d0e0f5ec2e7"
	s.env = append(s.env, "RINGRUN_SECRET="+secret)
	l := s.ringrun("-H", "localhost,a", trainerProg(t))
	l.until(1, `^ringrun: view 2: 2 peers`)
	all := s.left()
	if len(all) < 5 { // launcher, agents, workers
		t.Errorf("only %d processes: %v", len(all), all)
	}
	for pid, line := range all {
		if strings.Contains(strings.ToLower(line), secret) {
			t.Errorf("process %s shows the secret: %s", pid, line)
		}
	}
	s.ringrun("stop").ends(0)
	l.ends(0)
}
