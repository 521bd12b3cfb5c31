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
