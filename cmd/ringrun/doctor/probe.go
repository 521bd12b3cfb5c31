package doctor

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"
)

const (
	dialTime = 2 * time.Second        // for a connection
	pingTime = time.Second            // for all round trips
	bulkTime = 300 * time.Millisecond // to send as much as possible
	bulkWait = 2 * time.Second        // for that to arrive
	pings    = 30
)

// A Target is a host as another one sees it.
type Target struct {
	Host  string   `json:"host"` // the name its echo says
	Addrs []string `json:"addrs"`
	Port  int      `json:"port"`
	Token Token    `json:"token"`
}

// A Verdict says what became of a packet.
type Verdict string

const (
	Reached     Verdict = "reached"
	Refused     Verdict = "refused"     // somebody said no
	Silent      Verdict = "silent"      // nobody said anything
	Unreachable Verdict = "unreachable" // a router, or this host, knows no way
	Prohibited  Verdict = "prohibited"  // a rule on this host, or a router's word
	Stranger    Verdict = "stranger"    // somebody else answered
	Unknown     Verdict = "unknown"
)

// A Way is what was found out about one address.
type Way struct {
	Addr string  `json:"addr"`
	From string  `json:"from,omitempty"` // this host's address on it
	TCP  Verdict `json:"tcp"`
	Said string  `json:"said,omitempty"` // by the system, if it was not reached
	Who  string  `json:"who,omitempty"`  // answered instead

	// Of the first way of a probe only, if it was reached.
	UDP       Verdict       `json:"udp,omitempty"`
	RTT       time.Duration `json:"rtt_ns,omitempty"` // median, with a TCP connection
	Bandwidth float64       `json:"bandwidth,omitempty"`
	Stalled   bool          `json:"stalled,omitempty"` // of what was sent in bulk not all arrived
	MTU       MTU           `json:"mtu"`
}

// Probe tries all addresses of a target at once, and measures the first. It
// takes 4 s at most.
func Probe(ctx context.Context, t Target) []Way {
	ways := make([]Way, len(t.Addrs))
	var trying sync.WaitGroup
	for i, addr := range t.Addrs {
		trying.Go(func() { ways[i] = tryWay(ctx, addr, t) })
	}
	trying.Wait()
	if len(ways) > 0 && ways[0].TCP == Reached {
		ways[0].measure(ctx, t)
	}
	return ways
}

func tryWay(ctx context.Context, addr string, t Target) Way {
	w := Way{Addr: addr}
	c, err := t.dial(ctx, addr, pingKind)
	if err != nil {
		w.TCP, w.Said = verdict(err), err.Error()
		var s *strangerError
		if errors.As(err, &s) {
			w.Who = s.name
		}
		return w
	}
	defer c.Close()
	w.TCP = Reached
	w.From, _, _ = net.SplitHostPort(c.LocalAddr().String())
	return w
}

// A strangerError reports that another host answers at an address.
type strangerError struct{ name string }

func (e *strangerError) Error() string {
	if e.name == "" {
		return "who answers is no part of this examination"
	}
	return "host " + e.name + " answers"
}

// dial connects to the echo of a target, and checks that it is that.
func (t Target) dial(ctx context.Context, addr string, kind byte) (*net.TCPConn, error) {
	d := net.Dialer{Timeout: dialTime}
	c, err := d.DialContext(ctx, "tcp", net.JoinHostPort(addr, strconv.Itoa(t.Port)))
	if err != nil {
		return nil, err
	}
	_ = c.SetDeadline(time.Now().Add(dialTime))
	name, err := t.greet(c, kind)
	if err == nil && name != t.Host {
		err = &strangerError{name}
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c.(*net.TCPConn), nil
}

func (t Target) greet(c net.Conn, kind byte) (string, error) {
	if _, err := c.Write(append(t.Token[:], kind)); err != nil {
		return "", err
	}
	size := make([]byte, 1)
	_, err := io.ReadFull(c, size)
	name := make([]byte, size[0])
	if err == nil {
		_, err = io.ReadFull(c, name)
	}
	if err != nil && !isTimeout(err) {
		err = &strangerError{}
	}
	return string(name), err
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout() || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded)
}

// verdict sorts the errors of a connection. That a firewall says no is told in
// several ways.
func verdict(err error) Verdict {
	var s *strangerError
	switch {
	case errors.As(err, &s):
		return Stranger
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ECONNRESET):
		return Refused
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		return Prohibited
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTDOWN),
		errors.Is(err, syscall.EINVAL), errors.Is(err, syscall.EADDRNOTAVAIL): // a blackhole of ours, no such family
		return Unreachable
	case isTimeout(err):
		return Silent
	}
	return Unknown
}

// measure looks closer at a way by which the target was reached.
func (w *Way) measure(ctx context.Context, t Target) {
	ctx, cancel := context.WithTimeout(ctx, pingTime+bulkWait)
	defer cancel()
	w.UDP = tryUDP(ctx, w.Addr, t)
	if w.UDP == Reached {
		w.MTU = findMTU(ctx, w.Addr, t)
	}
	w.RTT = t.ping(ctx, w.Addr)
	w.Bandwidth, w.Stalled = t.bulk(ctx, w.Addr)
}

// ping returns the median of some round trips, and 0 if there were none.
func (t Target) ping(ctx context.Context, addr string) time.Duration {
	c, err := t.dial(ctx, addr, pingKind)
	if err != nil {
		return 0
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(pingTime))
	var took []time.Duration
	buf := make([]byte, 64)
	for begin := time.Now(); len(took) < pings && time.Since(begin) < pingTime/2; {
		sent := time.Now()
		if _, err = c.Write(buf); err == nil {
			_, err = io.ReadFull(c, buf)
		}
		if err != nil {
			break
		}
		took = append(took, time.Since(sent))
	}
	if len(took) == 0 {
		return 0
	}
	slices.Sort(took)
	return took[len(took)/2]
}

// bulk sends until the other end has counted for a moment, and returns how many
// bytes a second arrived.
func (t Target) bulk(ctx context.Context, addr string) (rate float64, stalled bool) {
	c, err := t.dial(ctx, addr, bulkKind)
	if err != nil {
		return 0, true
	}
	_ = c.SetDeadline(time.Now().Add(bulkWait))
	var writing sync.WaitGroup
	defer writing.Wait()
	defer c.Close()
	writing.Go(func() {
		for buf, err := make([]byte, 256<<10), error(nil); err == nil; {
			_, err = c.Write(buf)
		}
	})
	answer := make([]byte, 16)
	if _, err := io.ReadFull(c, answer); err != nil {
		return 0, true
	}
	total, took := binary.BigEndian.Uint64(answer), binary.BigEndian.Uint64(answer[8:])
	if took == 0 {
		return 0, true
	}
	return float64(total) / time.Duration(took).Seconds(), false
}
