package main

import (
	"errors"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ringrun/ringrun/elastic"
)

var buildTrainer = sync.OnceValues(func() (string, error) {
	exe := filepath.Join(binDir, "trainer")
	out, err := exec.Command("go", "build", "-o", exe, "./testdata/trainer").CombinedOutput()
	if err != nil {
		err = errors.New(string(out))
	}
	return exe, err
})

// trainerProg is the program in testdata/trainer.
func trainerProg(t testing.TB) string {
	t.Helper()
	exe, err := buildTrainer()
	if err != nil {
		t.Fatal(err)
	}
	return exe
}

func TestStatus(t *testing.T) {
	s := newStage(t)
	s.ringrun("status").ends(2, `^ringrun: no run of this user goes on here: name the address`)
	l := s.ringrun("-n", "3", trainerProg(t), "-slow", "p1-")
	addr := l.until(1, `^ringrun: listening; one more peer: ringrun -join (\S+) `)[0][1]
	l.until(1, `^ringrun: step 5 waits for p1 \(computing, .*\)$`)
	text := s.ringrun("status").ends(0,
		`^RANK +PEER +HOST`, `^0 +p0-\w+ .* 5 .* reducing \d`, `^1 +p1-\w+ .* 5 .* computing \d`, `^all wait for p1-\w+$`)
	if n := strings.Count(text, "127.0.0.1:"); n != 3 {
		t.Errorf("%d addresses:\n%s", n, text)
	}
	s.ringrun("status", "-json", addr).ends(0, `^\{"id":"p0-.*"steps":5,.*"phase":"reducing"`)
	stacks := s.ringrun("stacks", "p1").ends(0, `^goroutine \d+`)
	if !strings.Contains(stacks, "main.train(") {
		t.Errorf("no stack of the loop:\n%s", stacks)
	}
	s.ringrun("stacks", "p7").ends(1, `^ringrun: there is no peer p7; there are p0-\w+, p1-\w+, p2-\w+$`)
	s.ringrun("status", "127.0.0.1:1").ends(1, `nobody answers there`)
	l.signal(syscall.SIGTERM)
	l.ends(128 + int(syscall.SIGTERM))
}

func TestTop(t *testing.T) {
	at := time.Now()
	run := func(steps, sent uint64, phase elastic.Phase) []answer {
		var all []answer
		for i, id := range []string{"p0-ab", "p1-cd", "p2-ef"} {
			a := answer{peer: elastic.StatusPeer{ID: id, Addr: "10.0.0.1:1"}}
			a.Status = elastic.Status{ID: id, Rank: i, Epoch: 2, Steps: steps, StepTime: 0.1, Phase: phase, InPhase: 2, Sent: sent}
			all = append(all, a)
		}
		return all
	}
	m := topModel{ask: &asker{addr: "10.0.0.1:1"}, at: at}
	next, _ := m.Update(news{answers: run(5, 1e6, elastic.Computing), at: at.Add(time.Second)})
	second := run(6, 4e6, elastic.Reducing)
	second[1].Phase = elastic.Computing
	next, _ = next.Update(news{answers: second, at: at.Add(2 * time.Second)})
	second[0].Slow = []elastic.Slow{{ID: "p1-cd", Factor: 1.6, Cause: "no cause known"}}
	second[2].Slow = second[0].Slow
	third := slices.Clone(second)
	text := next.(topModel).text()
	for _, want := range []string{`view 2 · 3 peers · 6 steps · 10.0 steps/s`, `◌ p0 → ● p1 → ◌ p2 → ◌ p0`, `3.0 MB`, `all wait for p1-cd`, `p1-cd computes 1.6 times as long as the others`} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	third[2] = answer{peer: third[2].peer, err: errors.New("no answer")}
	next, _ = next.Update(news{answers: third, at: at.Add(3 * time.Second)})
	if text := next.(topModel).text(); !strings.Contains(text, "no answer") {
		t.Errorf("a peer that is gone is not shown:\n%s", text)
	}
	third[0] = answer{peer: third[0].peer, err: errors.New("no answer")}
	next, _ = next.Update(news{answers: third, at: at.Add(4 * time.Second)})
	if text := next.(topModel).text(); !strings.Contains(text, "view 2 · 3 peers · 6 steps") {
		t.Errorf("the head is of a peer that is gone:\n%s", text)
	} else if _, row, _ := strings.Cut(text, "p2-ef"); strings.Contains(strings.Split(row, "\n")[0], "MB") {
		t.Errorf("a peer that is gone sends something:\n%s", text)
	}
}
