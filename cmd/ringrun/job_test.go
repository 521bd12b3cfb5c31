package main

import (
	"testing"
	"time"
)

// Who joins a run waits for no founder. Its workers are not ended when it should
// have listened.
func TestJoinHasNoDeadline(t *testing.T) {
	for _, o := range []options{{join: []string{"127.0.0.1:7"}}, {join: []string{"127.0.0.1:7"}, detach: true}} {
		j := newJob(o, credential{}, records{}, nil)
		j.deadline = time.NewTimer(foundAfter)
		j.begin()
		if runs := j.deadline.Stop(); runs != o.detach || !j.founded {
			t.Errorf("detach %v: a deadline runs: %v; founded: %v", o.detach, runs, j.founded)
		}
	}
}
