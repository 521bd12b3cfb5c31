package membership

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"
	"go.uber.org/zap"
)

// ample is the time for what takes a moment on a machine that has time for us.
const ample = time.Minute

// A talker is a gossip and what it has heard.
type talker struct {
	*gossip
	heard chan string
}

func testConfig(id string) Config {
	return Config{ID: id, Run: "run", Secret: []byte(testSecret)}.withDefaults()
}

// talk starts a gossip that founds, or joins through the addresses given.
func talk(t *testing.T, id string, join ...string) talker {
	t.Helper()
	cfg := testConfig(id)
	cfg.Found, cfg.Join = len(join) == 0, join
	return talkWith(t, cfg)
}

func talkWith(t *testing.T, cfg Config) talker {
	t.Helper()
	if err := cfg.validate(); err != nil {
		t.Fatal(err)
	}
	heard := make(chan string, 256)
	g, err := startGossip(t.Context(), cfg, func(b []byte) {
		select {
		case heard <- string(b):
		default:
			t.Errorf("%s heard more than the test can hold", cfg.ID)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.close() })
	return talker{g, heard}
}

func (g talker) hears(t *testing.T, want string) {
	t.Helper()
	select {
	case got := <-g.heard:
		if got != want {
			t.Fatalf("heard %.40q (%d bytes), want %.40q (%d bytes)", got, len(got), want, len(want))
		}
	case <-time.After(ample):
		t.Fatalf("did not hear %.40q (%d bytes)", want, len(want))
	}
}

// poll waits for what has no event.
func poll(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(ample)
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("never came true: " + what)
		}
	}
}

func others(group []talker, i int) []string {
	var addrs []string
	for j, g := range group {
		if j != i {
			addrs = append(addrs, g.addr())
		}
	}
	slices.Sort(addrs)
	return addrs
}

// One founds, the others join through it, in the end everybody knows everybody.
// Then one leaves, and one goes without a word.
func TestGossipDiscovery(t *testing.T) {
	for _, n := range []int{2, 5} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			group := []talker{talk(t, "p0")}
			for i := 1; i < n; i++ {
				group = append(group, talk(t, fmt.Sprint("p", i), group[0].addr()))
			}
			for i, g := range group {
				if g.founded() != (i == 0) {
					t.Errorf("p%d: founded %v", i, g.founded())
				}
				poll(t, "all see all", func() bool { return slices.Equal(g.members(), others(group, i)) })
			}
			group[n-1].leave(time.Second)
			group[n-1].close()
			group = group[:n-1]
			for i, g := range group {
				poll(t, "all see the leaver go", func() bool { return slices.Equal(g.members(), others(group, i)) })
			}
			group[0].close()
			for i, g := range group[1:] {
				poll(t, "all notice the silent one", func() bool { return slices.Equal(g.members(), others(group[1:], i)) })
			}
		})
	}
}

// Messages of all sizes arrive, whatever the way: a packet, the outbox, a stream.
func TestGossipMessages(t *testing.T) {
	a := talk(t, "a")
	b := talk(t, "b", a.addr())
	for _, n := range []int{1, 100, maxPacket, maxPacket + 1, 1 << 16, 1 << 20} {
		msg := strings.Repeat("x", n-1) + "!"
		buf := []byte(msg)
		a.send(b.addr(), buf)
		clear(buf) // send does not keep it
		b.hears(t, msg)
		if n > maxPacket && n <= maxPieces {
			b.hears(t, msg) // in pieces, and over a stream
		}
		buf = []byte(msg)
		if err := b.sendReliable(t.Context(), a.addr(), buf); err != nil {
			t.Fatal(err)
		}
		clear(buf)
		a.hears(t, msg)
	}
}

// sendReliable says so when the message cannot arrive.
func TestGossipSendFails(t *testing.T) {
	a := talk(t, "a")
	gone := talk(t, "gone", a.addr())
	gone.close()
	if err := a.sendReliable(t.Context(), gone.addr(), []byte("x")); err == nil || !strings.Contains(err.Error(), gone.addr()) {
		t.Errorf("send to a closed peer: %v, want an error that names %s", err, gone.addr())
	}
	if err := a.sendReliable(t.Context(), "nonsense", []byte("x")); err == nil {
		t.Error("sent to nonsense")
	}

	mute := listenMute(t)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := a.sendReliable(ctx, mute, []byte("x")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("send to a peer that does not answer: %v, want the context's error", err)
	}

	a.close()
	if err := a.sendReliable(t.Context(), mute, []byte("x")); !errors.Is(err, ErrClosed) {
		t.Errorf("send after close: %v, want ErrClosed", err)
	}
	a.send(mute, []byte("x"))
	a.leave(time.Second)
	if got := a.probe(t.Context(), "a", mute); got != unknown {
		t.Errorf("probe after close: %v", got)
	}
}

// listenMute returns an address that takes connections and never says a word, as
// that of a stopped process does.
func listenMute(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().String()
}

// plain returns a transport without gossip behind it: it sees what memberlist
// puts on the wire.
func plain(t *testing.T) *transport {
	t.Helper()
	p, err := listen(testConfig("plain"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Shutdown() })
	return p
}

// What a gossip sends cannot be read on the wire.
func TestGossipEncrypts(t *testing.T) {
	const words = "attack at dawn"
	a := talk(t, "a")
	wire := plain(t)
	addr := wire.advertise.String()

	a.send(addr, []byte(words))
	select {
	case p := <-wire.PacketCh():
		if len(p.Buf) < len(words) || bytes.Contains(p.Buf, []byte(words)) {
			t.Errorf("packet %q", p.Buf)
		}
	case <-time.After(ample):
		t.Fatal("no packet")
	}

	if err := a.sendReliable(t.Context(), addr, []byte(words)); err != nil {
		t.Fatal(err)
	}
	select {
	case s := <-wire.StreamCh():
		defer s.Close()
		s.SetDeadline(time.Now().Add(ample))
		b, err := io.ReadAll(s)
		if err != nil || len(b) < len(words) || bytes.Contains(b, []byte(words)) {
			t.Errorf("stream %q, %v", b, err)
		}
	case <-time.After(ample):
		t.Fatal("no stream")
	}
}

// Messages that are not encrypted are dropped, from strangers and even from those
// who know the secret. That they would be understood otherwise shows a memberlist
// without a key.
func TestGossipDropsUnencrypted(t *testing.T) {
	packet := []byte("\x08packet")
	stream := []byte("\x08\x81\xaaUserMsgLen\x06stream") // msgpack: a map of one

	open := plain(t)
	heard := make(chan string, 2)
	conf := memberlist.DefaultLocalConfig()
	conf.Transport, conf.Delegate = open, delegate{&gossip{deliver: func(b []byte) { heard <- string(b) }}}
	conf.Logger, _ = zap.NewStdLogAt(zap.NewNop(), zap.DebugLevel)
	list, err := memberlist.Create(conf)
	if err != nil {
		t.Fatal(err)
	}
	defer list.Shutdown()

	sender := plain(t)
	shut := func(to string) {
		if _, err := sender.WriteTo(packet, to); err != nil {
			t.Fatal(err)
		}
		c, err := sender.DialTimeout(to, ample)
		if err != nil {
			t.Fatal(err)
		}
		c.Write(stream)
		io.Copy(io.Discard, c) // until the receiver has done with it
		c.Close()
	}
	shut(open.advertise.String())
	got := talker{heard: make(chan string, 2)}
	for range 2 {
		select {
		case s := <-heard:
			got.heard <- s
		case <-time.After(ample):
			t.Fatal("the memberlist without a key does not understand the message")
		}
	}

	a := talk(t, "a")
	b := talk(t, "b", a.addr())
	shut(a.addr())
	for _, msg := range []string{"after", "last"} { // of two packets the second may come first
		b.send(a.addr(), []byte(msg))
		a.hears(t, msg)
	}
}

// Packets of a run with another secret, or of another run with the same, are
// dropped.
func TestGossipDropsForeign(t *testing.T) {
	a := talk(t, "a")
	b := talk(t, "b", a.addr())
	for _, cfg := range []Config{
		{ID: "x", Run: "run", Secret: []byte("another secret, long enough"), Found: true},
		{ID: "y", Run: "other", Secret: []byte(testSecret), Found: true},
	} {
		talkWith(t, cfg.withDefaults()).send(a.addr(), []byte("foreign"))
	}
	for _, msg := range []string{"own", "last"} {
		b.send(a.addr(), []byte(msg))
		a.hears(t, msg)
	}
}

// stacks returns the goroutines whose stacks mention a string.
func stacks(mention string) []string {
	buf := make([]byte, 1<<22)
	var found []string
	for s := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		if strings.Contains(s, mention) && !strings.Contains(s, "stacks(") {
			found = append(found, s)
		}
	}
	return found
}

// When close returns nothing of ours is left, though streams and messages were
// under way; memberlist's own goroutines follow.
func TestGossipCloseLeaksNothing(t *testing.T) {
	a := talk(t, "a")
	b := talk(t, "b", a.addr())
	mute := listenMute(t)
	silent, err := net.Dial("tcp", a.addr()) // and says no hello
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	big := make([]byte, 1<<20)
	for range 2 * maxQueued {
		a.send(mute, big)
		b.send(a.addr(), big)
	}
	probed := make(chan verdict, 1)
	go func() { probed <- a.probe(context.Background(), "x", mute) }()
	poll(t, "the probe runs", func() bool { return len(stacks("(*gossip).probe")) > 0 })

	began := time.Now()
	a.close()
	b.close()
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("close took %v", took)
	}
	if got := <-probed; got != unknown {
		t.Errorf("the probe that was cut short says %v", got)
	}
	for _, ours := range []string{"(*transport)", "(*outbox)", "(*gossip)", "(*doorman)"} {
		settled := time.Now().Add(ample) // for those that have said they are done
		for left := stacks(ours); len(left) > 0; left = stacks(ours) {
			if runtime.Gosched(); time.Now().After(settled) {
				t.Fatalf("left after close:\n%s", strings.Join(left, "\n\n"))
			}
		}
	}
	poll(t, "memberlist has ended", func() bool { return len(stacks("memberlist.(*Memberlist)")) == 0 })
	if err := a.close(); err != nil {
		t.Errorf("closed again: %v", err)
	}
}

// A port is taken for TCP, for UDP, or is none of this host.
func TestBindErrors(t *testing.T) {
	a := talk(t, "a")
	s, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, tt := range []struct{ bind, want string }{
		{a.addr(), "taken by another process: choose another port"},
		{s.LocalAddr().String(), "taken by another process: choose another port"},
		{"192.0.2.1:0", "no address of this host"},
	} {
		cfg := testConfig("b")
		cfg.Bind, cfg.Found = tt.bind, true
		g, err := startGossip(t.Context(), cfg, func([]byte) {})
		if err == nil {
			g.close()
			t.Errorf("bound %s", tt.bind)
		} else if !strings.Contains(err.Error(), tt.bind) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("bind %s: %q, want it to say %q", tt.bind, err, tt.want)
		}
	}
}

// What is advertised can be reached, whatever was bound.
func TestAdvertise(t *testing.T) {
	for _, tt := range []struct{ bind, advertise, want string }{
		{"127.0.0.1:0", "", "127.0.0.1:PORT"},
		{"127.0.0.1:0", "10.1.2.3", "10.1.2.3:PORT"},
		{"127.0.0.1:0", "10.1.2.3:77", "10.1.2.3:77"},
		{"127.0.0.1:0", "fd00::1", "[fd00::1]:PORT"},
		{"127.0.0.1:0", "[fd00::1]:77", "[fd00::1]:77"},
		{"127.0.0.1:0", "0.0.0.0", ""},
		{"0.0.0.0:0", "", hostAddr().String() + ":PORT"},
	} {
		cfg := testConfig("a")
		cfg.Bind, cfg.Advertise = tt.bind, tt.advertise
		p, err := listen(cfg)
		if err != nil {
			if tt.want != "" {
				t.Errorf("bind %s, advertise %q: %v", tt.bind, tt.advertise, err)
			}
			continue
		}
		p.Shutdown()
		port := fmt.Sprint(addrPort(p.listener.Addr()).Port())
		if got, want := p.advertise.String(), strings.Replace(tt.want, "PORT", port, 1); got != want {
			t.Errorf("bind %s, advertise %q: %s, want %s", tt.bind, tt.advertise, got, want)
		}
	}
}
