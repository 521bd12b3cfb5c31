package membership

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"syscall"
	"time"
)

// A verdict is what a probe has found out about a peer.
type verdict int

const (
	unknown verdict = iota
	alive           // it answered
	dead            // proven: it will never be heard of again
)

func (v verdict) String() string {
	switch v {
	case alive:
		return "alive"
	case dead:
		return "dead"
	}
	return "unknown"
}

// maxProbe bounds a probe whose context does not.
const maxProbe = 5 * time.Second

// probe tries to prove that the peer id at addr is dead. A peer holds its port
// for its whole life, and an ID belongs to one start of a process, so it is dead
// when
//
//   - its own host refuses connections to the port, or
//   - somebody else answers there, who proves to know the secret.
//
// All else proves nothing: silence (it may be stopped, or cut off), a network
// that is unreachable, an answer that anybody could give. The assumption is that
// no firewall answers in the host's name with a reset.
func (g *gossip) probe(ctx context.Context, id, addr string) verdict {
	to, err := netip.ParseAddrPort(addr)
	if err != nil {
		return unknown
	}
	if to.Addr().IsLoopback() && !g.transport.advertise.Addr().IsLoopback() {
		return unknown // the loopback of which host?
	}
	ctx, cancel := context.WithTimeout(ctx, maxProbe)
	defer cancel()
	w, _, err := g.transport.ask(ctx, addr)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return dead
	case err != nil:
		return unknown
	case w.id != id:
		return dead
	}
	return alive
}

// hold keeps a connection to the peer id at addr open and returns when it is lost,
// or ctx ends. It returns false, at once, if there is no getting through, or
// somebody else answers there.
func (g *gossip) hold(ctx context.Context, id, addr string) bool {
	s, w, err := g.transport.dial(ctx, addr, helloHold)
	if err != nil {
		return false
	}
	defer s.Close()
	if w.id != id {
		return false
	}
	stop := afterFunc(ctx, func() { s.Close() })
	defer stop()
	io.Copy(io.Discard, s)
	return true
}
