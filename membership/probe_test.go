package membership

import (
	"context"
	"net"
	"testing"
	"time"
)

// A probe calls dead only what is proven to be.
func TestProbe(t *testing.T) {
	a := talk(t, "a")
	b := talk(t, "b", a.addr())
	gone := talk(t, "gone", a.addr())
	gone.close()
	foreign := testConfig("b")
	foreign.Found, foreign.Secret = true, []byte("another secret, long enough")
	other := testConfig("b")
	other.Found, other.Run = true, "other"

	for _, tt := range []struct {
		name, id, addr string
		want           verdict
	}{
		{"it answers", "b", b.addr(), alive},
		{"its port is closed", "gone", gone.addr(), dead},
		{"another ID has its port", "earlier", b.addr(), dead},
		{"it is stopped", "b", listenMute(t), unknown},
		{"a stranger has its port", "b", listenStranger(t), unknown},
		{"a peer with another secret has its port", "earlier", talkWith(t, foreign).addr(), unknown},
		{"a peer of another run has its port", "earlier", talkWith(t, other).addr(), unknown},
		{"no address", "b", "b.example:1", unknown},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), ample)
		if tt.name == "it is stopped" {
			cancel()
			ctx, cancel = context.WithTimeout(t.Context(), 100*time.Millisecond)
		}
		if got := a.probe(ctx, tt.id, tt.addr); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
		cancel()
	}
}

// On another host's loopback somebody else may refuse us.
func TestProbeForeignLoopback(t *testing.T) {
	cfg := testConfig("a")
	cfg.Found, cfg.Advertise = true, "10.1.2.3"
	a := talkWith(t, cfg)
	gone := talk(t, "gone")
	gone.close()
	if got := a.probe(t.Context(), "gone", gone.addr()); got != unknown {
		t.Errorf("got %v, want unknown", got)
	}
}

// listenStranger serves another protocol.
func listenStranger(t *testing.T) string {
	t.Helper()
	return listenAnd(t, func(c net.Conn) {
		c.Write([]byte("220 mail.example ESMTP\r\n"))
		c.Read(make([]byte, 1024)) // lest our closing outruns what we said
	})
}

// listenAnd serves connections one by one and closes them.
func listenAnd(t *testing.T, serve func(c net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.SetDeadline(time.Now().Add(ample))
			serve(c)
			c.Close()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
	})
	return l.Addr().String()
}
