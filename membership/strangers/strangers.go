// Package strangers bounds what those who have proved nothing yet can take of a
// peer that listens: connections, and lines in its log.
package strangers

import (
	"net"
	"net/netip"
	"sync"
)

// A Crowd is the connections to one listener that have yet to prove who they are.
// Everybody is let in; when there are too many, somebody else has to go: the one
// that has been there longest, of the source that has most. A peer needs a round
// trip to prove itself, so it gets through though thousands say nothing, unless
// as many as a Crowd holds come within its round trip. Then it tries again.
type Crowd struct {
	limits  Limits
	reports *reports

	mu      sync.Mutex // guards the fields below
	total   int
	sources map[netip.Prefix][]*Stranger // those who came first stand first
}

// Limits says how many connections may be without proof at a time.
type Limits struct {
	Total  int // default 256
	Source int // from one address, or one /64 of IPv6; default 128
}

// New returns an empty Crowd. Report, if it is not nil, gets a line about those
// who were refused, at most one a minute; it must not block.
func New(limits Limits, report func(line string)) *Crowd {
	if limits.Total == 0 {
		limits.Total = 256
	}
	if limits.Source == 0 {
		limits.Source = 128
	}
	return &Crowd{limits: limits, reports: newReports(report), sources: map[netip.Prefix][]*Stranger{}}
}

// NoHello is why most strangers are refused.
const NoHello = "no valid hello"

// A Stranger is one connection in a Crowd.
type Stranger struct {
	conn   net.Conn
	crowd  *Crowd
	source netip.Prefix
}

// Enter lets a connection in, and perhaps closes another one. Leave must be
// called when the stranger is none any more, or is gone.
func (c *Crowd) Enter(conn net.Conn) *Stranger {
	s := &Stranger{conn: conn, crowd: c, source: sourceOf(conn.RemoteAddr())}
	c.mu.Lock()
	c.sources[s.source] = append(c.sources[s.source], s)
	c.total++
	out := c.surplus(s.source)
	c.mu.Unlock()
	if out != nil {
		out.conn.Close() // whoever talks to it finds out, and calls Leave
		c.reports.add(out.source, NoHello)
	}
	return s
}

// surplus takes somebody out if there are too many. It is called with c.mu held.
func (c *Crowd) surplus(newest netip.Prefix) *Stranger {
	from := newest
	switch {
	case len(c.sources[newest]) > c.limits.Source:
	case c.total > c.limits.Total:
		for source, all := range c.sources {
			if len(all) > len(c.sources[from]) {
				from = source
			}
		}
	default:
		return nil
	}
	s := c.sources[from][0]
	c.remove(s)
	return s
}

// remove takes somebody out, if it is still in. It is called with c.mu held.
func (c *Crowd) remove(s *Stranger) {
	all := c.sources[s.source]
	for i := range all {
		if all[i] != s {
			continue
		}
		copy(all[i:], all[i+1:])
		all[len(all)-1] = nil
		if all = all[:len(all)-1]; len(all) == 0 {
			delete(c.sources, s.source)
		} else {
			c.sources[s.source] = all
		}
		c.total--
		return
	}
}

// Leave takes the stranger out. If it was refused, why says so in few words; they
// may hold what it has said, if that is printable. It is empty for who has proved
// itself, or has gone without a word: a peer that has changed its mind, perhaps.
func (s *Stranger) Leave(why string) {
	s.crowd.mu.Lock()
	s.crowd.remove(s)
	s.crowd.mu.Unlock()
	if why != "" {
		s.crowd.reports.add(s.source, why)
	}
}

// Len returns how many are in.
func (c *Crowd) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.total
}

// Close ends the reports. What was not reported is.
func (c *Crowd) Close() { c.reports.close() }

// sourceOf returns what connections have in common that probably come from one
// place. Those that have no IP address come from this host.
func sourceOf(a net.Addr) netip.Prefix {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	ip := t.AddrPort().Addr().Unmap().WithZone("")
	bits := ip.BitLen()
	if ip.Is6() {
		bits = 64
	}
	p, _ := ip.Prefix(bits) // none for an invalid address
	return p
}
