package membership

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestTicket(t *testing.T) {
	secret := randomBytes(32)
	tr, err := listen(Config{ID: "a", Run: "run", Secret: secret, Bind: "127.0.0.1:0"}.withDefaults())
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Shutdown()
	addr := tr.listener.Addr().String()
	in := func(d time.Duration) Ticket {
		return NewTicket(secret, "run", []string{"127.0.0.1:1", addr}, time.Now().Add(d))
	}

	ticket, err := ParseTicket(in(time.Hour).String() + "\n")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(ticket.String(), string(secret)) || bytes.Contains(ticket.Key, secret) {
		t.Error("the ticket holds the secret itself")
	}
	got, from, err := ticket.Redeem(t.Context())
	if err != nil || !bytes.Equal(got, secret) || from != addr {
		t.Errorf("redeemed %x from %s, %v; want %x from %s", got, from, err, secret, addr)
	}
	if _, _, err := in(-time.Second).Redeem(t.Context()); err == nil || !strings.Contains(err.Error(), "the ticket has expired at") {
		t.Errorf("an old ticket: %v", err)
	}
	// Whoever holds an old one cannot make it newer, nor lie about the time.
	old := in(-time.Second)
	old.Expires = time.Now().Add(time.Hour) // for the check of our own
	if _, _, err := old.Redeem(t.Context()); err == nil || !strings.Contains(err.Error(), "by the clock there") {
		t.Errorf("an old ticket that is not checked here: %v", err)
	}
	old.Until = old.Expires.Unix()
	if _, _, err := old.Redeem(t.Context()); err == nil || !strings.Contains(err.Error(), "another secret") {
		t.Errorf("a forged ticket: %v", err)
	}
	for _, s := range []string{"", "127.0.0.1:1", TicketPrefix, ticket.String()[:60], ticket.String() + "A", strings.ToUpper(ticket.String())} {
		if _, err := ParseTicket(s); !errors.Is(err, ErrTicket) {
			t.Errorf("%.30q: %v", s, err)
		}
	}
}

func FuzzParseTicket(f *testing.F) {
	f.Add(NewTicket(randomBytes(16), "run", []string{"a:1"}, time.Now()).String())
	f.Fuzz(func(t *testing.T, s string) {
		if k, err := ParseTicket(s); err == nil && len(k.Addrs) == 0 {
			t.Errorf("%q: no address", s)
		}
	})
}
