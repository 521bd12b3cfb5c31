package doctor

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"slices"
	"strconv"
	"syscall"
	"time"
)

// An MTU is the size of the largest packet that a way takes.
type MTU struct {
	Believed int `json:"believed,omitempty"` // by this host, as routes and routers say
	Passes   int `json:"passes,omitempty"`   // the largest tried that arrived; 0 if none, or not tried
}

// A datagrams is a socket for one address, with answers.
type datagrams struct {
	conn  *net.UDPConn
	token Token
	next  uint32
}

// answerTime is how long an answer may take; then it is asked again, twice.
const answerTime = 200 * time.Millisecond

func dialUDP(ctx context.Context, addr string, t Target) (*datagrams, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "udp", net.JoinHostPort(addr, strconv.Itoa(t.Port)))
	if err != nil {
		return nil, err
	}
	return &datagrams{conn: c.(*net.UDPConn), token: t.Token}, nil
}

// ask sends a datagram of a size until its arrival is confirmed.
func (d *datagrams) ask(ctx context.Context, size int) error {
	var err error
	for try := range 3 {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err = d.askOnce(size, answerTime<<try); err == nil || errors.Is(err, syscall.EMSGSIZE) {
			return err
		}
	}
	return err
}

func (d *datagrams) askOnce(size int, wait time.Duration) error {
	d.next++
	packet := make([]byte, max(size, len(d.token)+4))
	copy(packet, d.token[:])
	binary.BigEndian.PutUint32(packet[len(d.token):], d.next)
	if _, err := d.conn.Write(packet); err != nil {
		return err
	}
	_ = d.conn.SetReadDeadline(time.Now().Add(wait))
	answer := make([]byte, 64)
	head := len(d.token) + 4
	for {
		n, err := d.conn.Read(answer)
		if err != nil {
			return err
		}
		if n == head+4 && string(answer[:head]) == string(packet[:head]) && int(binary.BigEndian.Uint32(answer[head:n])) == len(packet) {
			return nil
		}
	}
}

func tryUDP(ctx context.Context, addr string, t Target) Verdict {
	d, err := dialUDP(ctx, addr, t)
	if err != nil {
		return verdict(err)
	}
	defer d.conn.Close()
	if err := d.ask(ctx, 0); err != nil {
		return verdict(err)
	}
	return Reached
}

// packetSizes are those of the usual links and tunnels, beside what this host
// believes.
var packetSizes = []int{576, 1280, 1400, 1420, 1440, 1450, 1460, 1476, 1480, 1492, 1500, 4000, 8950, 9000}

// findMTU finds the largest packet that arrives without being cut into pieces.
// If it is smaller than what this host believes, packets are lost without a word.
func findMTU(ctx context.Context, addr string, t Target) MTU {
	d, err := dialUDP(ctx, addr, t)
	if err != nil {
		return MTU{}
	}
	defer d.conn.Close()
	heads := 28 // of IP and UDP
	if net.ParseIP(addr).To4() == nil {
		heads = 48
	}
	if !neverFragment(d.conn, heads == 48) {
		return MTU{}
	}
	var m MTU
	for range 3 { // a router may say that it is less, and another one less than that
		believed := min(pathMTU(d.conn, heads == 48), 65535)
		if believed <= heads {
			return MTU{}
		}
		m.Believed = believed
		if d.ask(ctx, believed-heads) == nil {
			m.Passes = believed
			return m
		}
		if now := pathMTU(d.conn, heads == 48); now >= believed {
			break
		}
	}
	sizes := slices.DeleteFunc(slices.Clone(packetSizes), func(n int) bool { return n >= m.Believed })
	m.Passes = largest(sizes, func(n int) bool {
		return d.askOnce(n-heads, answerTime) == nil || d.askOnce(n-heads, answerTime) == nil
	})
	return m
}

// largest returns the last of sizes, in their order, that passes, and 0 if none
// does.
func largest(sizes []int, passes func(int) bool) int {
	lo, hi := -1, len(sizes) // sizes[lo] passes, sizes[hi] does not
	for hi-lo > 1 {
		if mid := (lo + hi) / 2; passes(sizes[mid]) {
			lo = mid
		} else {
			hi = mid
		}
	}
	if lo < 0 {
		return 0
	}
	return sizes[lo]
}
