package membership

import (
	"context"
	"errors"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"
)

// joinFails returns the error of joining, and how long it took.
func joinFails(t *testing.T, cfg Config) (error, time.Duration) {
	t.Helper()
	began := time.Now()
	g, err := startGossip(t.Context(), cfg, func([]byte) {})
	if err == nil {
		g.close()
		t.Fatalf("%s joined %v", cfg.ID, cfg.Join)
	}
	return err, time.Since(began)
}

// What will never work is said at once, with the address and what to do.
func TestJoinRefused(t *testing.T) {
	a := talk(t, "a")
	for _, tt := range []struct {
		name   string
		addr   string
		change func(*Config)
		want   string
	}{
		{"another run", a.addr(), func(c *Config) { c.Run = "other" }, `it is of run "run", and this peer of run "other": check the address`},
		{"another secret", a.addr(), func(c *Config) { c.Secret = []byte("another secret, long enough") }, "has another secret"},
		{"same ID", a.addr(), func(c *Config) { c.ID = "a" }, `it has the ID "a" too`},
		{"stranger", listenStranger(t), func(*Config) {}, `it is not a ringrun peer: it said "220 mail`},
		{"it hangs up", listenHangup(t), func(*Config) {}, "it hung up without a word"},
		{"another version", listenVersion(t), func(*Config) {}, "it speaks version 3 and this program version 2"},
	} {
		cfg := testConfig("b")
		cfg.Join = []string{tt.addr}
		tt.change(&cfg)
		err, took := joinFails(t, cfg)
		if !strings.Contains(err.Error(), tt.addr) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %q, want it to name %s and say %q", tt.name, err, tt.addr, tt.want)
		}
		if took > knockTime { // so long it would go on, were it not final
			t.Errorf("%s: took %v, but it is final", tt.name, took)
		}
	}
}

// listenHangup closes each connection at once.
func listenHangup(t *testing.T) string {
	t.Helper()
	return listenAnd(t, func(c net.Conn) { c.Read(make([]byte, 4)) })
}

// listenVersion is a peer of another version.
func listenVersion(t *testing.T) string {
	t.Helper()
	return listenAnd(t, func(c net.Conn) {
		if _, err := readGreeting(c); err == nil {
			c.Write(greeting{version: helloVersion + 1, kind: helloRefusal, body: []byte("run")}.appendTo(nil))
		}
	})
}

// Nobody listens, or somebody who says nothing: the user knows within 10 s.
func TestJoinNobody(t *testing.T) {
	if testing.Short() {
		t.Skip("waits as long as a user would")
	}
	gone := talk(t, "gone")
	gone.close()
	for _, tt := range []struct {
		name, addr, want string
		is               error
	}{
		{"refused", gone.addr(), "no process listens there", syscall.ECONNREFUSED},
		{"mute", listenMute(t), "it takes the connection and says nothing", context.DeadlineExceeded},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cfg := testConfig("b")
			cfg.Join = []string{tt.addr}
			err, took := joinFails(t, cfg)
			if !strings.Contains(err.Error(), "nobody answers at "+tt.addr+": "+tt.want) || !errors.Is(err, tt.is) {
				t.Errorf("%q, want it to say that nobody answers at %s: %s", err, tt.addr, tt.want)
			}
			if took < 5*time.Second || took > 2*knockTime { // it is 10 s on a machine that has time for us
				t.Errorf("took %v, want between 5 and 10 s: a founder may be late, a user not wait", took)
			}
		})
	}
}

// A joiner may be up before the founder.
func TestJoinBeforeFounder(t *testing.T) {
	early := talk(t, "early")
	early.close() // its port is free for the founder
	cfg := testConfig("b")
	cfg.Join = []string{early.addr()}
	joined := make(chan error, 1)
	go func() {
		g, err := startGossip(context.Background(), cfg, func([]byte) {})
		if err == nil {
			g.close()
		}
		joined <- err
	}()
	poll(t, "the joiner knocks", func() bool { return len(stacks("membership.sleep")) > 0 })
	founder := testConfig("a")
	founder.Found, founder.Bind = true, early.addr()
	talkWith(t, founder)
	if err := <-joined; err != nil {
		t.Error(err)
	}
}

// One address of the list is enough, the others may be of any kind.
func TestJoinList(t *testing.T) {
	a := talk(t, "a")
	gone := talk(t, "gone")
	gone.close()
	b := talk(t, "b", listenMute(t), gone.addr(), listenStranger(t), "localhost:"+port(t, a.addr()))
	poll(t, "both see each other", func() bool { return len(a.members()) == 1 && len(b.members()) == 1 })
}

func port(t *testing.T, addr string) string {
	t.Helper()
	_, p, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// A founder that finds its group alive joins it; otherwise it founds, quickly,
// also when another run has the port by now.
func TestFoundOrJoin(t *testing.T) {
	a := talk(t, "a")
	gone := talk(t, "gone")
	gone.close()
	other := testConfig("other")
	other.Found, other.Run = true, "other"
	for _, tt := range []struct {
		name    string
		join    []string
		founded bool
	}{
		{"group lives", []string{gone.addr(), a.addr()}, false},
		{"group is dead", []string{gone.addr()}, true},
		{"nobody answers", []string{listenMute(t)}, true},
		{"port of another run", []string{talkWith(t, other).addr()}, true},
	} {
		cfg := testConfig("b " + tt.name)
		cfg.Found, cfg.Join = true, tt.join
		began := time.Now()
		if b := talkWith(t, cfg); b.founded() != tt.founded {
			t.Errorf("%s: founded %v, want %v", tt.name, b.founded(), tt.founded)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("%s: took %v", tt.name, took)
		}
	}
}

// A founder with a wrong secret does not split its run.
func TestFoundWrongSecret(t *testing.T) {
	a := talk(t, "a")
	cfg := testConfig("b")
	cfg.Found, cfg.Join, cfg.Secret = true, []string{a.addr()}, []byte("another secret, long enough")
	if err, _ := joinFails(t, cfg); !strings.Contains(err.Error(), a.addr()) || !strings.Contains(err.Error(), "another secret") {
		t.Errorf("got %q", err)
	}
}

// Two joiners that know only each other, and themselves, do not make a group:
// nobody founded one.
func TestJoinEachOther(t *testing.T) {
	var addrs []string
	for _, id := range []string{"x", "y"} {
		g := talk(t, id)
		g.close()
		addrs = append(addrs, g.addr())
	}
	errs := make(chan error, 2)
	for i, id := range []string{"a", "b"} {
		cfg := testConfig(id)
		cfg.Bind, cfg.Join, cfg.JoinTimeout = addrs[i], addrs, 3*time.Second
		go func() {
			g, err := startGossip(context.Background(), cfg, func([]byte) {})
			if err == nil {
				g.close()
			}
			errs <- err
		}()
	}
	// The one that is late may find the other gone; the first cannot.
	first, second := <-errs, <-errs
	if first == nil || second == nil {
		t.Fatalf("got %v and %v, want errors", first, second)
	}
	if !errors.Is(first, errAlone) || !strings.Contains(first.Error(), "it is this peer itself") {
		t.Errorf("got %q, want it to ask whether a group was founded", first)
	}
}

// Joining ends with its context.
func TestJoinCancelled(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("changed my mind")
	cfg := testConfig("b")
	cfg.Join = []string{listenMute(t)}
	result := make(chan error, 1)
	go func() {
		_, err := startGossip(ctx, cfg, func([]byte) {})
		result <- err
	}()
	poll(t, "it joins", func() bool { return len(stacks("(*doorman).knock")) > 0 })
	began := time.Now()
	cancel(why)
	if err := <-result; !errors.Is(err, why) {
		t.Errorf("got %v, want %v", err, why)
	}
	if took := time.Since(began); took > knockTime/2 {
		t.Errorf("took %v", took)
	}
}

// Loopback and another address of one host reach each other.
func TestJoinFromLoopback(t *testing.T) {
	local := hostAddr()
	if local.IsLoopback() {
		t.Skip("this host has no address but loopback")
	}
	cfg := testConfig("a")
	cfg.Found, cfg.Bind = true, "0.0.0.0:0"
	a := talkWith(t, cfg)
	b := talk(t, "b", a.addr())
	poll(t, "both see each other", func() bool { return len(a.members()) == 1 && len(b.members()) == 1 })
}
