package main

import (
	"flag"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

var orphanRounds = flag.Int("orphans", 2, "in so many runs somebody is killed at a random moment")

// A runPhase is how far a run has come when somebody is killed.
type runPhase struct {
	name    string
	args    string // of ringrun; PROG stands for a program whose workers do not end by themselves
	reached func(l *launcher)
}

var runPhases = []runPhase{
	{"reaching a host", "-H silent PROG", asleep},
	{"copying", "-H stuck PROG", asleep},
	{"starting an agent", "-H agentless PROG", asleep},
	{"asking for hosts", "-hosts-from sleep\x001000 PROG", asleep},
	{"founding", "-H a:2 PROG -mute", func(l *launcher) { l.until(1, `^\[0\] mute`) }},
	{"joining", "-H a:2,b PROG -on p1 -mute", func(l *launcher) { l.until(1, `^\[1\] mute`) }},
	{"running", "-H a:2,b PROG -stubborn -child", func(l *launcher) { l.until(6, `waiting`) }},
	{"waiting to start one again", "-H a:2 PROG -stay p0 -exit 3", func(l *launcher) { l.until(1, `starts again`) }},
	{"ending", "-grace 30s -H a:2,b PROG -stubborn -child", func(l *launcher) {
		l.until(6, `waiting`)
		l.signal(syscall.SIGTERM)
		l.until(3, `got terminated`)
	}},
	{"before it detaches", "-H a,b -detach PROG -on p1 -mute", func(l *launcher) { l.until(1, `^\[1\] mute`) }},
}

func asleep(l *launcher) { l.untilRunning("sleep 1000") }

func (s *stage) inPhase(p runPhase) *launcher {
	s.t.Helper()
	args := strings.Fields(strings.Replace(p.args, "PROG", workerProg(s.t), 1))
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "\x00", " ")
	}
	return s.ringrun(args...)
}

// The launcher is killed, and nothing is left.
func TestKilledInEachPhase(t *testing.T) {
	for _, p := range runPhases {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t).withHosts()
			l := s.inPhase(p)
			p.reached(l)
			l.signal(syscall.SIGKILL)
			s.nothingLeft()
		})
	}
}

// An agent, or a worker, is killed: nothing of it is left, and nothing of the
// others when the launcher is killed after it.
func TestOthersKilledInEachPhase(t *testing.T) {
	for _, p := range runPhases[4:] {
		for _, who := range []string{"_agent", "worker"} {
			t.Run(p.name+"/"+who, func(t *testing.T) {
				t.Parallel()
				s := newStage(t).withHosts()
				l := s.inPhase(p)
				p.reached(l)
				victim := s.one(who)
				below := s.below(victim)
				_ = syscall.Kill(atoi(t, victim), syscall.SIGKILL) // it may have ended
				s.gone(append(below, victim)...)
				_ = l.cmd.Process.Kill() // it may have ended
				s.nothingLeft()
			})
		}
	}
}

// Whoever is killed, whenever that is, nothing is left when the launcher is
// killed as well. The launcher's guard is spared: it is there for the death of one.
func TestKilledAtRandom(t *testing.T) {
	for range *orphanRounds {
		p := runPhases[rand.IntN(len(runPhases))]
		after := rand.N(time.Second)
		s := newStage(t).withHosts()
		l := s.inPhase(p)
		time.Sleep(after)
		left := s.left()
		maps.DeleteFunc(left, func(_, cmdline string) bool { return strings.HasPrefix(cmdline, guardName) })
		all := slices.Sorted(maps.Keys(left))
		if len(all) > 0 {
			victim := all[rand.IntN(len(all))]
			who, _, _ := strings.Cut(left[victim], "\n")
			t.Logf("%s: %v after the start somebody kills %s", p.name, after, who)
			if n := atoi(t, victim); n != l.cmd.Process.Pid {
				_ = syscall.Kill(n, syscall.SIGKILL) // it may have ended
			}
		}
		time.Sleep(rand.N(time.Second))
		_ = l.cmd.Process.Kill()
		s.nothingLeft()
	}
}
