package tcp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"

	"github.com/ringrun/ringrun/ring/internal/lobby"
)

// Privacy says which links are encrypted. The two ends of a link need not say
// the same: what one of them must have the other one accepts.
type Privacy int

const (
	// BetweenHosts encrypts what leaves this host.
	BetweenHosts Privacy = iota
	// Always encrypts all links.
	Always
	// Never encrypts nothing, and refuses peers that insist.
	Never
)

// privacy is what this end wants of a connection.
func (c *Config) privacy(conn net.Conn) lobby.Privacy {
	switch {
	case c.TLS == nil || c.Privacy == Never:
		return lobby.Never
	case c.Privacy == BetweenHosts && isLocal(conn):
		return lobby.Either
	}
	return lobby.Always
}

// isLocal reports whether a connection stays on this host.
func isLocal(conn net.Conn) bool {
	addr, ok := conn.RemoteAddr().(*net.TCPAddr)
	return ok && onThisHost(addr.IP)
}

// onThisHost reports whether an address is one of this host's own.
func onThisHost(ip net.IP) bool {
	if ip.IsLoopback() {
		return true
	}
	own, _ := net.InterfaceAddrs() // without them it is only slower
	return slices.ContainsFunc(own, func(a net.Addr) bool {
		n, ok := a.(*net.IPNet)
		return ok && n.IP.Equal(ip)
	})
}

// A seal is the TLS of a connection. While the two greet each other it reads and
// writes the connection, and may wait. Later a link may have it turned: then what
// it writes is collected, for the link to send, and what it reads comes from the
// link, which need not wait.
type seal struct {
	*tls.Conn
	pipe *pipe
}

// errUnbound: somebody between the two has joined the ends of two connections.
var errUnbound = errors.New("the TLS at the other end is that of another connection")

// newSeal greets the other end. The caller sees to it that it ends.
func newSeal(ctx context.Context, v *lobby.Visitor, cfg *tls.Config, dialed bool) (*seal, error) {
	cfg = cfg.Clone()
	cfg.MinVersion = tls.VersionTLS13
	cfg.NextProtos = []string{v.Name}
	cfg.SessionTicketsDisabled = true
	cfg.DynamicRecordSizingDisabled = true
	s := &seal{pipe: &pipe{Conn: v.Conn}}
	if dialed {
		s.Conn = tls.Client(s.pipe, cfg)
	} else {
		s.Conn = tls.Server(s.pipe, cfg)
	}
	if err := s.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("TLS: %w", err)
	}
	if s.ConnectionState().NegotiatedProtocol != v.Name {
		return nil, fmt.Errorf("TLS: %w", errUnbound)
	}
	return s, nil
}

// A pipe is what TLS takes for the network.
type pipe struct {
	net.Conn                             // until it is turned
	recv     func(p []byte) (int, error) // after that: 0 and no error if nothing is here

	mu   sync.Mutex // guards out and sent: who reads may have to write an alert
	out  []byte     // collected since it was empty
	sent int        // bytes of it
}

// sealBytes is how much of a frame is encrypted at a time: enough that a system
// call is worth it, little enough to stay in the caches.
const sealBytes = 64 << 10

// turn lets a link send and receive from now on.
func (p *pipe) turn(recv func(p []byte) (int, error)) {
	p.recv = recv
	p.out = make([]byte, 0, sealBytes+sealBytes/64+512)
}

// Read returns what is here. That there is nothing is for TLS a deadline that has
// passed, after which one may read again.
func (p *pipe) Read(b []byte) (int, error) {
	if p.recv == nil {
		return p.Conn.Read(b)
	}
	n, err := p.recv(b)
	if n == 0 && err == nil {
		err = os.ErrDeadlineExceeded
	}
	return n, err
}

func (p *pipe) Write(b []byte) (int, error) {
	if p.recv == nil {
		return p.Conn.Write(b)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.out = append(p.out, b...)
	return len(b), nil
}
