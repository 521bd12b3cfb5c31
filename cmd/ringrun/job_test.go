package main

import (
	"os"
	"testing"
	"time"
)

// Who joins a run waits for no founder. Its workers are not ended when it should
// have listened.
func TestJoinHasNoDeadline(t *testing.T) {
	j := newJob(options{join: []string{"127.0.0.1:7"}}, credential{}, records{}, nil)
	j.deadline = time.NewTimer(absentAfter)
	j.begin()
	if runs := j.deadline.Stop(); runs || !j.founded {
		t.Errorf("a deadline runs: %v; founded: %v", runs, j.founded)
	}
}

// A group that is to be left alone has to come together in time, but only from when
// all of its workers listen: a program may read its data first.
func TestDetachWaitsForWhoStarts(t *testing.T) {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	j := newJob(options{detach: true, n: 2}, credential{}, records{}, newPrinter(null, null))
	j.deadline = time.NewTimer(absentAfter)
	j.peers = []*peer{{id: "p0", addr: "127.0.0.1:1", state: running}, {id: "p1", state: running}}
	j.grouped()
	j.mayLeave()
	if j.late(); j.broken {
		t.Fatal("the workers were to end before p1 listened")
	}
	j.peers[1].addr = "127.0.0.1:2"
	j.mayLeave()
	j.deadline.Stop()
	j.mayLeave()
	if j.deadline.Stop() {
		t.Error("the deadline was set a second time")
	}
	if j.late(); !j.broken {
		t.Error("all listen, do not come together, and the launcher waits for ever")
	}
}

// The command that is printed for one more peer starts one that fits: the same
// program with the same arguments, and the options that must be alike.
func TestJoiningCommand(t *testing.T) {
	usual := options{transport: "auto", tls: "auto", codec: "raw", batch: "constant"}
	plain, special := usual, usual
	plain.prog, plain.args = "./cmd/mnist", []string{"-epochs", "200"}
	special.prog, special.args = "./a b/mnist", []string{"-data", "", "-text=it's", "x,y/z:1"}
	special.transport, special.tls, special.codec, special.batch = "tcp", "always", "half", "scale"
	for want, o := range map[string]options{
		"ringrun -join 127.0.0.1:7 ./cmd/mnist -epochs 200": plain,
		`ringrun -join 127.0.0.1:7 -transport tcp -tls always -codec half -batch-policy scale './a b/mnist' -data '' '-text=it'\''s' x,y/z:1`: special,
	} {
		if got := o.joining("127.0.0.1:7"); got != want {
			t.Errorf("%s\nwant\n%s", got, want)
		}
	}
}
