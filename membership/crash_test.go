package membership

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// TestCrashAtEveryMessage lets a peer die before it sends the first message of a
// story, then the second, and so on, whoever sends it: proposers, acceptors,
// newcomers, witnesses. The others must agree in the end, and never be two groups.
func TestCrashAtEveryMessage(t *testing.T) {
	for _, story := range []string{
		"group a b c d; kill b",
		"group a b c d; renew c; join e; join f",
		"group a b c d; leave a; join e; leave d",
		"group a b c d; kill a b; join e",
		"group a b c d e; kill a b c",
		"group a b c d; stop b; tick 80; cont b",
		"group a b c d; cut a b | c d; tick 80; heal",
		"group a b c d; cut a | b c d; tick 80; heal",
		"prefer c; group a b c d; cut a b | c d; tick 80; heal",
		"group a b w1; cut a | b w1; tick 80; join c; heal",
		"found a expect 3; join b; join c; join w1",
	} {
		t.Run(story, func(t *testing.T) {
			t.Parallel()
			crashes := 0
			for at := 1; ; at++ {
				w, died := tell(t, story, at)
				if !died {
					break
				}
				crashes++
				if problem := w.settled(nil); problem != "" && !w.extinct() && !w.waits() {
					t.Fatalf("death at message %d: %s", at, problem)
				}
			}
			if crashes < 20 {
				t.Errorf("only %d messages", crashes)
			}
		})
	}
}

// tell lets a story happen in which the sender of a message dies, and reports
// whether there were so many messages.
func tell(t *testing.T, story string, at int) (w *world, died bool) {
	w = newWorld(rand.New(rand.NewPCG(uint64(at), 7)))
	w.net.delay = at % 3
	w.rough = true // who is slow may be left out
	w.fuse = at
	var log []string
	w.saw = func(format string, args ...any) { log = append(log, fmt.Sprintf(format, args...)) }
	w.fail = func(format string, args ...any) {
		t.Helper()
		t.Fatalf("death at message %d: %s\n%s", at, fmt.Sprintf(format, args...), strings.Join(log, "\n"))
	}
	for line := range strings.SplitSeq(story, ";") {
		f := strings.Fields(line)
		if err := w.command(f[0], f[1:]); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
	}
	for tick := range 800 {
		if tick == 300 {
			w.fuse = 0 // the rest is to find an agreement
		}
		w.step()
	}
	return w, strings.Contains(strings.Join(log, "\n"), "dies")
}

// extinct reports whether nobody is left who could train.
func (w *world) extinct() bool {
	in, _ := w.members()
	for _, p := range in {
		if !p.a.self.Witness {
			return false
		}
	}
	return true
}

// waits reports whether somebody waits for word of others, as it should when most
// of its view are dead and it was silent for long.
func (w *world) waits() bool {
	in, _ := w.members()
	for _, p := range in {
		if p.a.bereft >= 0 && p.a.cutOff {
			return true
		}
	}
	return false
}

// However long a proposer waits for those who are silent, two who cannot hear each
// other do not interrupt each other for ever.
func TestPatienceGrows(t *testing.T) {
	for _, grace := range []int{1, grace, 20, 30} {
		w := newWorld(nil)
		w.grace = grace
		w.saw, w.fail = func(string, ...any) {}, t.Fatalf
		for _, line := range []string{"group a b c", "cut a | b"} {
			f := strings.Fields(line)
			if err := w.command(f[0], f[1:]); err != nil {
				t.Fatal(err)
			}
		}
		for ticks := 0; len(w.views) < 2; ticks++ {
			if w.step(); ticks > 300 {
				t.Fatalf("grace %d: no view after %d ticks", grace, ticks)
			}
		}
	}
}

// A proposer that is heard has time to wait for those who are silent, although
// messages are slow: the next in rank does not interrupt it.
func TestProposerIsLeftInPeace(t *testing.T) {
	w := newWorld(rand.New(rand.NewPCG(1, 1)))
	w.net.delay, w.rough = 5, true
	w.saw, w.fail = func(string, ...any) {}, t.Fatalf
	w.group("a", "b", "c", "d", "e")
	w.stop(w.peers["e"])
	w.peers["a"].a.renew(1)
	for ticks := 0; len(w.views) < 2; ticks++ {
		if w.step(); ticks > 300 {
			t.Fatal("no view after 300 ticks")
		}
	}
	if got := w.peers["b"].a.chosen.Rank + w.peers["a"].a.chosen.Rank; got > 0 {
		t.Errorf("rank %d decided, want 0", got)
	}
}

// c proposes what b has accepted from a, who is dead: a view without c. Nobody but
// c knows then that it is decided, so c says it more than once before it goes.
func TestWhoExcludesItselfTells(t *testing.T) {
	all := peers("a b c")
	c := newAgreement(all[2], false, "", 0, 0)
	c.adopt(View{Epoch: 1, Group: "a", Peers: all}, ballot{})
	c.setDead("a")
	for c.proposal == nil {
		c.tick()
		c.ready()
	}
	next := View{Epoch: 2, Group: "a", Peers: all[:2]}
	say := func(m message) []message {
		m.From, m.Group, m.Epoch, m.Ballot = "b", "a", 2, c.promised
		c.step(m)
		out, _, _ := c.ready()
		return out
	}
	say(message{Kind: kindPromise, Accepted: ballot{1, 0}, View: &next})
	out := say(message{Kind: kindAccepted})
	told := 0
	for range 2 * rebroadcast {
		for _, m := range out {
			if m.Kind == kindDecided && m.To == "b" {
				told++
			}
		}
		c.tick()
		out, _, _ = c.ready()
	}
	if !c.excluded || told < 2 || c.resend > 0 {
		t.Errorf("excluded %t, b was told %d times, %d to come; want at least 2 and then an end", c.excluded, told, c.resend)
	}
}
