package main

import (
	"strings"
	"testing"
)

func TestJoinTicket(t *testing.T) {
	s := newStage(t)
	l := s.ringrun("-n", "2", trainerProg(t))
	l.until(1, `^ringrun: view 2: 2 peers`)
	text := s.ringrun("ticket", "-for", "1h").ends(0, `^ringrun-ticket-`, `^ringrun: good until `)
	ticket, _, _ := strings.Cut(text[strings.Index(text, "ringrun-ticket-"):], "\n")

	elsewhere := newStage(t) // where nobody knows the secret
	join := elsewhere.ringrun("-join", ticket, trainerProg(t))
	join.until(1, `^\[0\] step \d`)
	l.until(1, `^ringrun: view 3: 3 peers \(.* joined\)$`)
	for pid, line := range elsewhere.left() {
		if strings.Contains(line, "ringrun-ticket-") {
			t.Errorf("process %s shows the ticket: %s", pid, line)
		}
	}
	elsewhere.ringrun("-join", ticket[:40], trainerProg(t)).ends(1, `^ringrun: -join: membership: not a whole ticket: copy all of it$`)
	short := s.ringrun("ticket", "-for", "1ns").ends(0)
	short, _, _ = strings.Cut(short[strings.Index(short, "ringrun-ticket-"):], "\n")
	elsewhere.ringrun("-join", short, trainerProg(t)).ends(1, `^ringrun: -join: membership: the ticket has expired at .*: ask for a new one \(ringrun ticket\), or set the clock`)
	s.ringrun("stop").ends(0)
	l.ends(0)
	join.ends(0)
}
