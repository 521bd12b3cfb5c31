// Package mob is who knocks at an open port, for tests: scanners, programs that
// have the wrong address, and people of ill will.
package mob

import (
	"crypto/rand"
	"crypto/tls"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// pause is how long each of a crowd rests between two visits.
const pause = 2 * time.Millisecond

// Pester sends all kinds of strangers to an address, over TCP and UDP, until the
// test ends or stop is called. Magic is how peers begin there.
func Pester(t testing.TB, addr, magic string) (stop func()) {
	t.Helper()
	quit := make(chan struct{})
	var running sync.WaitGroup
	for _, say := range []func(net.Conn){
		func(net.Conn) {}, // a port scanner
		func(c net.Conn) { io.CopyN(c, rand.Reader, 500) },
		func(c net.Conn) { c.Write([]byte(magic)); io.CopyN(c, rand.Reader, 500) },
		func(c net.Conn) { io.WriteString(c, "GET / HTTP/1.1\r\nHost: "+addr+"\r\n\r\n") },
		func(c net.Conn) { io.WriteString(c, "SSH-2.0-OpenSSH_9.9\r\n") },
		func(c net.Conn) { tls.Client(c, &tls.Config{InsecureSkipVerify: true}).Handshake() },
		func(c net.Conn) { dribble(c, magic, quit) },
	} {
		running.Go(func() { visit(addr, say, quit) })
	}
	running.Go(func() { spray(t, addr, quit) })
	stop = sync.OnceFunc(func() {
		close(quit)
		running.Wait()
	})
	t.Cleanup(stop)
	return stop
}

func visit(addr string, say func(net.Conn), quit <-chan struct{}) {
	for again(quit, pause) {
		c, err := net.DialTimeout("tcp", addr, time.Second)
		if err != nil {
			continue
		}
		c.SetDeadline(time.Now().Add(time.Second))
		say(c)
		c.Close()
	}
}

// dribble says what a peer would say, a byte at a time, so slowly that it never ends.
func dribble(c net.Conn, magic string, quit <-chan struct{}) {
	for i := 0; again(quit, 50*time.Millisecond); i++ {
		if _, err := c.Write([]byte{magic[i%len(magic)]}); err != nil {
			return
		}
	}
}

// spray sends packets of any bytes.
func spray(t testing.TB, addr string, quit <-chan struct{}) {
	c, err := net.Dial("udp", addr)
	if err != nil {
		t.Error(err)
		return
	}
	defer c.Close()
	b := make([]byte, 1400)
	for i := 0; again(quit, pause); i++ {
		rand.Read(b)
		b[0] = byte(i) // memberlist's kinds of messages
		c.Write(b[:1+i%len(b)])
	}
}

func again(quit <-chan struct{}, after time.Duration) bool {
	select {
	case <-quit:
		return false
	case <-time.After(after):
		return true
	}
}

// HalfOpen opens connections to an address and says nothing. They stay open until
// the test ends, as far as it is up to this side.
func HalfOpen(t testing.TB, addr string, n int) {
	t.Helper()
	const hands = 16
	var mu sync.Mutex
	var conns []net.Conn
	t.Cleanup(func() {
		for _, c := range conns {
			c.Close()
		}
	})
	var running sync.WaitGroup
	for hand := range hands {
		running.Go(func() {
			for i := hand; i < n; i += hands {
				c, err := net.DialTimeout("tcp", addr, 10*time.Second)
				if err != nil {
					t.Errorf("connection %d of %d: %v", i, n, err)
					return
				}
				mu.Lock()
				conns = append(conns, c)
				mu.Unlock()
			}
		})
	}
	running.Wait()
}
