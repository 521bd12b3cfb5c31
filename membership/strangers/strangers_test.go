package strangers

import (
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A fakeConn comes from an address, and knows whether it was closed.
type fakeConn struct {
	net.Conn
	from   net.Addr
	closed bool
}

func (c *fakeConn) RemoteAddr() net.Addr { return c.from }
func (c *fakeConn) Close() error         { c.closed = true; return nil }

func from(ip string) *fakeConn { return &fakeConn{from: &net.TCPAddr{IP: net.ParseIP(ip), Port: 1}} }

// Whoever comes is let in. Too many of one source push out their own oldest; too
// many in all, the oldest of the source that has most.
func TestCrowd(t *testing.T) {
	c := New(Limits{Total: 5, Source: 3}, nil)
	defer c.Close()
	var conns []*fakeConn
	enter := func(ip string) *Stranger {
		conns = append(conns, from(ip))
		return c.Enter(conns[len(conns)-1])
	}
	closed := func() (out []int) {
		for i, conn := range conns {
			if conn.closed {
				out = append(out, i)
			}
		}
		return out
	}
	for _, tt := range []struct {
		from string
		want []int // closed after that
	}{
		{"10.0.0.9", nil},
		{"10.0.0.9", nil},
		{"::ffff:10.0.0.9", nil},
		{"10.0.0.9", []int{0}}, // a fourth
		{"2001:db8::1", []int{0}},
		{"2001:db8::2", []int{0}},       // the fifth in all
		{"10.0.0.1", []int{0, 1}},       // 10.0.0.9 has most
		{"2001:db8::3", []int{0, 1, 4}}, // now that /64 has most, by this one
	} {
		enter(tt.from)
		if got := closed(); !slices.Equal(got, tt.want) {
			t.Fatalf("after %s: closed %v, want %v", tt.from, got, tt.want)
		}
	}
	if c.Len() != 5 {
		t.Errorf("%d are in, want 5", c.Len())
	}
}

// Who leaves makes room, and may leave twice: once because it was pushed out.
func TestLeave(t *testing.T) {
	c := New(Limits{Total: 2}, nil)
	defer c.Close()
	first, second := from("10.0.0.1"), from("10.0.0.1")
	a := c.Enter(first)
	a.Leave("")
	b := c.Enter(second)
	c.Enter(from("10.0.0.2"))
	if first.closed || second.closed {
		t.Error("somebody was pushed out though there was room")
	}
	c.Enter(from("10.0.0.1"))
	if !second.closed {
		t.Error("nobody was pushed out though there was no room")
	}
	b.Leave("")
	if c.Len() != 2 || len(c.sources) != 2 {
		t.Errorf("%d from %d sources are in, want 2 from 2", c.Len(), len(c.sources))
	}
}

// The first refusal is reported at once, and then at most one line a minute.
func TestReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex // guards lines
		var lines []string
		c := New(Limits{}, func(line string) {
			mu.Lock()
			defer mu.Unlock()
			lines = append(lines, line)
		})
		refuse := func(ip, why string, times int) {
			for range times {
				c.Enter(from(ip)).Leave(why)
			}
		}
		check := func(want ...string) {
			t.Helper()
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if !slices.Equal(lines, want) {
				t.Fatalf("reported %q, want %q", lines, want)
			}
			lines = nil
		}
		refuse("10.0.0.9", "no valid hello", 312)
		check("refused a connection from 10.0.0.9: no valid hello")
		refuse("2001:db8::1", "another run", 5)
		refuse("10.0.0.1", "another run", 2)
		check()
		time.Sleep(reportTime)
		check("refused 311 connections from 10.0.0.9: no valid hello (and 7 connections from elsewhere)")
		for i := range 3 * maxSources {
			refuse(fmt.Sprintf("10.0.1.%d", i), "no valid hello", 1)
		}
		refuse("10.0.1.7", "no valid hello", 1)
		c.reports.mu.Lock()
		kept := len(c.reports.counts)
		c.reports.mu.Unlock()
		if kept > maxSources {
			t.Errorf("%d sources are kept", kept)
		}
		time.Sleep(reportTime)
		check(fmt.Sprintf("refused 2 connections from 10.0.1.7: no valid hello (and %d connections from elsewhere)", 3*maxSources-1))
		time.Sleep(2 * reportTime)
		check()
		refuse("2001:db8::1", "another run", 1)
		check("refused a connection from 2001:db8::/64: another run")
		refuse("2001:db8::1", "another run", 2)
		c.Close()
		check("refused 2 connections from 2001:db8::/64: another run")
		refuse("2001:db8::1", "another run", 2)
		time.Sleep(2 * reportTime)
		check()
	})
}
