// Package tcp opens the links of a ring over TCP.
//
// Each peer listens on one port as long as it lives. Whoever connects must
// prove that it knows the secret of the run before anything else is read from
// it, and learns why if it is refused.
package tcp

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/ringrun/ringrun/ring"
	"github.com/ringrun/ringrun/ring/internal/lobby"
)

// Config describes one peer's transport.
type Config struct {
	ID         string                              // this peer
	Run        string                              // name of the run; peers of another run are refused
	Secret     []byte                              // shared by the peers of the run, at least 16 bytes
	Bind       string                              // host:port to listen on; default 127.0.0.1:0
	Resolve    func(peer string) ([]string, error) // the addresses of a peer; all are tried at once
	FrameBytes int                                 // default 512 KiB
	Lanes      int                                 // default 1
	TLS        *tls.Config                         // for both ends, with certificates that both check; default: nothing is encrypted
	Privacy    Privacy                             // with TLS: which links are encrypted
	Refused    func(line string)                   // gets a line about strangers who were refused, at most one a minute; default: nobody
}

func (c *Config) validate() error {
	if c.Bind == "" {
		c.Bind = "127.0.0.1:0"
	}
	if c.FrameBytes == 0 {
		c.FrameBytes = 512 << 10
	}
	if c.Lanes == 0 {
		c.Lanes = 1
	}
	host := c.lobby()
	switch {
	case c.Resolve == nil:
		return errors.New("tcp: no way to resolve peers")
	case c.FrameBytes < 0 || c.FrameBytes > ring.MaxBody:
		return fmt.Errorf("tcp: frames of %d bytes, want 1 to %d", c.FrameBytes, ring.MaxBody)
	case c.Privacy < BetweenHosts || c.Privacy > Never:
		return fmt.Errorf("tcp: privacy %d", c.Privacy)
	case c.Lanes < 0:
		return fmt.Errorf("tcp: %d lanes", c.Lanes)
	}
	return host.Validate()
}

func (c *Config) lobby() lobby.Config {
	return lobby.Config{Transport: "tcp", Magic: "ringrun", ID: c.ID, Run: c.Run, Secret: c.Secret, Privacy: c.privacy, Refused: c.Refused}
}

// A RefusedError says why the peer at the other end wants no link.
type RefusedError = lobby.RefusedError

// Transport opens links over TCP.
type Transport struct {
	cfg    Config
	plain  bool          // leave connections to the netpoller
	linger time.Duration // how long a link that polls waits for the other end to close
	lobby  *lobby.Lobby
}

// Listen binds the port and starts to answer. Close ends that.
func Listen(cfg Config) (*Transport, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	ln, err := net.Listen("tcp", cfg.Bind)
	if err != nil {
		return nil, fmt.Errorf("tcp: bind %s: %w", cfg.Bind, err)
	}
	return &Transport{cfg: cfg, linger: lingerTime, lobby: lobby.Open(cfg.lobby(), ln)}, nil
}

// Addr returns the bound address.
func (t *Transport) Addr() string { return t.lobby.Addr() }

// Limits implements ring.Transport.
func (t *Transport) Limits() ring.Limits {
	return ring.Limits{FrameBytes: t.cfg.FrameBytes, Lanes: t.cfg.Lanes, Short: true}
}

// Close gives back the port and ends all pending calls. Links that were closed
// before get up to a second to deliver what they have taken.
func (t *Transport) Close() error { return t.lobby.Close() }

var past = time.Unix(1, 0)
