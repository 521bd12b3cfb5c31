package main

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ringrun/ringrun/elastic"
	"golang.org/x/sys/unix"
)

// namedTime is how long it may take until a culprit is named: 2 s, and one more
// for a busy machine.
const namedTime = 3 * time.Second

// stuckRun starts three workers, of which the second does something in the
// backward pass of step 5, when 3 of 7 buckets are on their way.
func stuckRun(t *testing.T, more ...string) (*stage, *launcher, string) {
	s := newStage(t)
	args := append([]string{"-n", "3"}, more...)
	l := s.ringrun(append(args, "-buckets", "7", "-slow", "p1-")...)
	return s, l, l.until(1, `^\[1\] stuck (\d+)$`)[0][1]
}

// named waits until both other peers say on their stderr who it is.
func (l *launcher) named(began time.Time, most time.Duration, pattern string) {
	l.t.Helper()
	l.until(1, `^\[0\] .*`+pattern)
	l.until(1, `^\[2\] .*`+pattern)
	took := time.Since(began)
	l.t.Logf("named after %v", took.Round(time.Millisecond))
	within(l.t, took, most)
}

func TestBlockedReadIsNamed(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	_, l, _ := stuckRun(t, trainerProg(t), "-read", fifo)
	began := time.Now()
	l.named(began, namedTime, `WARN.*this step waits for others.*p1-\w+ \(computing, [\d.]+m?s, last bucket 3 of 7[;)]`)
	l.until(1, `^ringrun: step 5 waits for p1 \(computing, [\d.]+m?s, last bucket 3 of 7[;)]`)
	l.signal(syscall.SIGTERM)
	l.ends(128 + int(syscall.SIGTERM))
}

// A peer that has more in memory than it may waits for its disk at every other page.
func TestSwappingIsNamed(t *testing.T) {
	needLong(t)
	swap := filepath.Join(t.TempDir(), "swap")
	for _, line := range []string{"fallocate -l 512M " + swap, "chmod 600 " + swap, "mkswap " + swap, "swapon " + swap} {
		words := strings.Fields(line)
		if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
			t.Skipf("no memory can be swapped here: %s: %v\n%s", line, err, out)
		}
	}
	t.Cleanup(func() {
		if err := exec.Command("swapoff", swap).Run(); err != nil {
			t.Errorf("swapoff %s: %v", swap, err)
		}
	})
	_, l, _ := stuckRun(t, "sh", "-c", p1Within, memoryGroup(t, 128<<20), trainerProg(t), "-walk", "256")
	l.named(time.Now(), namedTime, `WARN.*this step waits for others.*p1-\w+ \(computing, [\d.]+m?s, last bucket 3 of 7; waits for its disk: \d+ page faults/s\)`)
	l.signal(syscall.SIGTERM)
	l.ends(128 + int(syscall.SIGTERM))
}

// heard waits until the others have heard of p1 what matches.
func (s *stage) heard(pattern string) {
	s.t.Helper()
	late := time.Now().Add(patience)
	for time.Now().Before(late) {
		know := map[int]bool{}
		text := s.ringrun("status", "-json").ends(0)
		for line := range strings.Lines(text) {
			var st elastic.Status
			if json.Unmarshal([]byte(line), &st) != nil {
				continue
			}
			for id, word := range st.Heard {
				if strings.HasPrefix(id, "p1-") && regexp.MustCompile(pattern).MatchString(elastic.LastHeard(word)) {
					know[st.Rank] = true
				}
			}
		}
		if len(know) == 2 {
			return
		}
	}
	s.t.Fatalf("the others do not hear %q of p1", pattern)
}

// A peer that is stopped answers nobody. Others know what it has said last, even
// when its silence breaks the ring before anybody asks.
func TestStoppedIsNamed(t *testing.T) {
	const last = `computing, step 5, last bucket 3 of 7`
	t.Run("and left out", func(t *testing.T) {
		s, l, pid := stuckRun(t, "-silence", "3s", trainerProg(t), "-silence", "0", "-steps", "2000")
		s.heard(last)
		began := time.Now()
		kill(t, pid, syscall.SIGSTOP)
		l.named(began, 3*time.Second+namedTime, `WARN.*a peer is silent.*p1-\w+ has been silent for 3s; last heard `+last)
		l.until(1, `^ringrun: p1 has been silent for 3s; last heard `+last+`$`)
		l.until(1, `^ringrun: view 3: 2 peers`)
		kill(t, pid, syscall.SIGKILL)
		l.ends(0)
	})
	t.Run("and waited for", func(t *testing.T) {
		s, l, pid := stuckRun(t, "-silence", "20s", trainerProg(t))
		s.heard(last)
		began := time.Now()
		kill(t, pid, syscall.SIGSTOP)
		l.named(began, namedTime, `WARN.*p1-\w+ \(does not answer; last heard `+last+`\)`)
		kill(t, pid, syscall.SIGKILL)
		l.until(1, `^ringrun: view 3: 2 peers`)
		l.signal(syscall.SIGTERM)
		l.ends(128 + int(syscall.SIGTERM))
	})
}
