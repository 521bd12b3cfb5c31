package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Hosts come and go while a run goes on, and the script that tells so has its
// bad moments.
func TestHostsFrom(t *testing.T) {
	s := newStage(t).withHosts()
	file := filepath.Join(t.TempDir(), "hosts")
	list := func(text string) {
		t.Helper()
		if err := os.WriteFile(file+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	list("a slots=1\n")
	l := s.ringrun("-hosts-from", "cat "+file, "-max-n", "3", trainerProg(t))
	l.until(1, `^\[0\] step`)
	list("a:1\nb:2 # new\n")
	l.until(1, `^ringrun: host b is listed, with 2 slots$`)
	l.until(1, `^\[1\] step`)
	l.until(1, `^\[2\] step`)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	l.until(1, `^ringrun: -hosts-from cat .*: cat: .*: No such file or directory; its last list holds$`)
	list("dead:1\nb:2\n")
	l.until(1, `^ringrun: -hosts-from cat .*: it answers again$`)
	l.until(1, `^ringrun: host a is no longer listed: worker 0 is to leave$`)
	l.until(2, `^ringrun: .*one more peer: `) // the first way in is gone
	l.until(1, `^ringrun: host dead: ssh: connect to host dead port 22: Connection refused: .*; tried again in \S+s, and as long as it is listed$`)
	list("b:1\nc:1\nd:1\ne:1\n")
	l.until(1, `^ringrun: host b has fewer slots: worker 2 is to leave$`)
	l.until(1, `^\[4\] step`)
	time.Sleep(firstPause / 2) // nothing tells what does not happen
	l.signal(syscall.SIGTERM)
	text := l.ends(128 + int(syscall.SIGTERM))
	if strings.Contains(text, "[5]") {
		t.Errorf("there are more than 3 peers:\n%s", text)
	}
	s.nothingLeft()
}

func TestHostsFromBegin(t *testing.T) {
	s := newStage(t).withHosts()
	prog := workerProg(t)
	s.ringrun("-hosts-from", "echo a:2; echo oh >&2", prog).ends(0, `^\[1\] together`)
	s.ringrun("-hosts-from", "echo a:2", "-max-n", "1", prog).ends(0, `^\[0\] together`)
	s.ringrun("-hosts-from", "echo oh >&2; exit 3", prog).ends(1, `^ringrun: -hosts-from echo oh >&2; exit 3: oh$`)
	s.ringrun("-hosts-from", "echo", prog).ends(1, `^ringrun: -hosts-from echo: no host is named$`)
	s.ringrun("-hosts-from", "echo", "-H", "a", prog).ends(2, `-hosts-from, and -H or -hostfile`)
	s.ringrun("-hosts-from", "echo a", "-detach", prog).ends(2, `with -detach there is none`)
	l := s.ringrun("-hosts-from", "echo a; sleep 1000", prog)
	s.untilRunning("sleep 1000")
	l.signal(syscall.SIGKILL)
	s.nothingLeft()
}

// The agent of a host is killed, and the host comes back with new workers.
func TestHostComesBack(t *testing.T) {
	s := newStage(t).withHosts()
	l := s.ringrun("-H", "a:1,b:1", workerProg(t), "-polite")
	for _, w := range l.until(2, `^\[(\d)\] waiting (\d+) (\d+)`) {
		if w[1] == "1" {
			kill(t, w[3], syscall.SIGKILL)
		}
	}
	l.until(1, `^ringrun: lost the agent on host b, and with it worker 1: `)
	l.until(1, `^ringrun: host b: its agent is started again in \S+s$`)
	l.until(1, `^ringrun: view \d+: 2 peers \(p2 joined\)$`)
	l.until(1, `^\[2\] waiting`)
	l.signal(syscall.SIGINT)
	l.ends(128 + int(syscall.SIGINT))
}
