package elastic

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/ringrun/ringrun/membership"
	"github.com/ringrun/ringrun/ring"
	"github.com/ringrun/ringrun/ring/rtc"
	"github.com/ringrun/ringrun/ring/shm"
	"github.com/ringrun/ringrun/ring/tcp"
	"go.uber.org/zap"
)

// A session is this peer under one ID: its node in the gossip group and its end
// of all links. A peer that was excluded starts a new one.
type session struct {
	node      *membership.Node
	transport ring.Transport
	links     ring.Transport // for the ring of the newest view
	book      *addressBook
	logger    *zap.Logger
	wrap      func(string, ring.Transport) ring.Transport
}

// meta is what a peer tells the others about itself in the view.
type meta struct {
	Transport string   `json:"transport"`
	Codec     string   `json:"codec"`
	TCP       []string `json:"tcp,omitempty"`
	SHM       string   `json:"shm,omitempty"`
	Audit     string   `json:"audit,omitempty"` // Config.Audit
	Host      string   `json:"host,omitempty"`  // shm.Identity, if it has an address there
	Order     string   `json:"order"`           // Config.Order
	TLS       string   `json:"tls"`             // Config.TLS
	Place     string   `json:"place"`           // which host it is on, whether it shares memory or not
}

// join starts a session. Sockets listen before the node starts, because their
// addresses travel with the node's request to join; WebRTC's signals travel
// through the node itself.
func join(ctx context.Context, cfg Config, arena *shm.Arena) (*session, error) {
	s := &session{book: &addressBook{}, logger: cfg.Logger, wrap: cfg.wrap}
	m := meta{Transport: cfg.Transport, Codec: cfg.Codec, Audit: cfg.Audit, Order: cfg.Order, TLS: cfg.TLS, Place: cfg.place()}
	var err error
	if s.transport, err = listen(cfg, s.book, &m, arena); err != nil {
		return nil, err
	}
	if cfg.Membership.Meta, err = json.Marshal(m); err != nil {
		return nil, err
	}
	cfg.Membership.Near = near
	if s.node, err = membership.Start(ctx, cfg.Membership); err != nil {
		if s.transport != nil {
			s.transport.Close()
		}
		return nil, err
	}
	if cfg.Transport == "rtc" {
		s.transport, err = rtc.New(rtc.Config{
			ID:       s.node.ID(),
			Signal:   signals{s.node},
			Loopback: isLoopback(s.node.Addr()),
			Logger:   cfg.Logger,
		})
		if err != nil {
			s.node.Close()
			return nil, err
		}
	}
	return s, nil
}

// listen opens the transports that listen, and notes their addresses. With
// WebRTC there is none.
func listen(cfg Config, book *addressBook, m *meta, arena *shm.Arena) (ring.Transport, error) {
	switch cfg.Transport {
	case "tcp":
		return listenTCP(cfg, book, m)
	case "shm":
		return listenSHM(cfg, book, m, arena)
	case "auto":
		t := &edges{book: book}
		var err error
		if t.shm, err = listenSHM(cfg, book, m, arena); err != nil {
			cfg.Logger.Debug("no shared memory", zap.Error(err))
			t.shm = nil
		}
		if t.tcp, err = listenTCP(cfg, book, m); err != nil {
			if t.shm != nil {
				t.shm.Close()
			}
			return nil, err
		}
		return t, nil
	}
	return nil, nil
}

// privacies are the values of Config.TLS.
var privacies = map[string]tcp.Privacy{"auto": tcp.BetweenHosts, "always": tcp.Always, "never": tcp.Never}

func listenTCP(cfg Config, book *addressBook, m *meta) (*tcp.Transport, error) {
	host, _, err := net.SplitHostPort(cfg.Membership.Bind)
	if err != nil || host == "" {
		host = "127.0.0.1"
	}
	credentials, err := membership.TLS(cfg.Membership.Secret, cfg.Membership.Run, cfg.Membership.ID)
	if err != nil {
		return nil, err
	}
	t, err := tcp.Listen(tcp.Config{
		ID:      cfg.Membership.ID,
		Run:     cfg.Membership.Run,
		Secret:  cfg.Membership.Secret,
		Bind:    net.JoinHostPort(host, "0"),
		Resolve: book.tcp,
		TLS:     credentials,
		Privacy: privacies[cfg.TLS],
		Refused: func(line string) { cfg.Logger.Warn("links: " + line) },
	})
	if err == nil {
		m.TCP = []string{advertised(cfg.Membership, t.Addr())}
	}
	return t, notOurs(host, err)
}

func listenSHM(cfg Config, book *addressBook, m *meta, arena *shm.Arena) (*shm.Transport, error) {
	t, err := shm.Listen(shm.Config{
		ID:      cfg.Membership.ID,
		Run:     cfg.Membership.Run,
		Secret:  cfg.Membership.Secret,
		Resolve: book.shm,
		Refused: func(line string) { cfg.Logger.Warn("links: " + line) },
		Arena:   arena,
	})
	if err != nil {
		return nil, err
	}
	if m.Host = shm.Identity(); m.Host == "" {
		t.Close()
		return nil, errors.New("elastic: this host does not say which it is, so nobody can share its memory")
	}
	m.SHM = t.Addr()
	return t, nil
}

func isLoopback(addr string) bool {
	to, err := netip.ParseAddrPort(addr)
	return err == nil && to.Addr().IsLoopback()
}

// advertised returns the address at which others reach a listener: the port is
// the listener's, the host that of the gossip.
func advertised(m membership.Config, bound string) string {
	if m.Advertise == "" {
		return bound
	}
	host, _, err := net.SplitHostPort(m.Advertise)
	if err != nil {
		host = m.Advertise
	}
	_, port, _ := net.SplitHostPort(bound)
	return net.JoinHostPort(host, port)
}

func (s *session) close() {
	s.transport.Close()
	s.node.Close()
}

// learn takes up what the peers of a view say about themselves. It fails if this peer cannot talk to
// the group, that is to the peer that is in it longest.
func (s *session) learn(v membership.View) error {
	peers := make(map[string]meta, len(v.Peers))
	var group, own meta
	for r, p := range v.Peers {
		var m meta
		if err := json.Unmarshal(p.Meta, &m); err != nil {
			return fmt.Errorf("elastic: what %s says about itself: %w", p.ID, err)
		}
		if r == 0 {
			group = m
		}
		if p.ID == s.node.ID() {
			own = m
		}
		peers[p.ID] = m
	}
	first := v.Peers[0].ID
	if own.Transport != group.Transport {
		return fmt.Errorf("elastic: %s uses transport %s, but this peer (%s) uses %s", first, group.Transport, s.node.ID(), own.Transport)
	}
	if own.Codec != group.Codec {
		return fmt.Errorf("elastic: %s uses codec %s, but this peer (%s) uses %s", first, group.Codec, s.node.ID(), own.Codec)
	}
	if own.Order != group.Order {
		return fmt.Errorf("elastic: %s orders the ring by %s, but this peer (%s) by %s", first, group.Order, s.node.ID(), own.Order)
	}
	if own.TLS != group.TLS {
		return fmt.Errorf("elastic: %s is started with TLS %s, but this peer (%s) with %s", first, group.TLS, s.node.ID(), own.TLS)
	}
	if own.Transport == "shm" && !own.sharesWith(group) {
		return fmt.Errorf("elastic: %s is on %q, but this peer (%s) on %q: transport shm does not reach so far, auto does", first, group.Host, s.node.ID(), own.Host)
	}
	s.book.set(peers)
	s.links = s.transport
	if t, ok := s.transport.(*edges); ok {
		s.links = t.within(peers, own)
	}
	if s.wrap != nil {
		s.links = s.wrap(s.node.ID(), s.links)
	}
	s.sayLinks(v, peers)
	return nil
}

// signals lets the WebRTC transport talk through the gossip group.
type signals struct{ node *membership.Node }

func (s signals) Send(ctx context.Context, to string, data []byte) error {
	return s.node.Signal(ctx, to, data)
}

func (s signals) Receive(ctx context.Context) (string, []byte, error) {
	return s.node.Receive(ctx)
}
