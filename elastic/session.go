package elastic

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"sync"

	"github.com/ringrun/ringrun/membership"
	"github.com/ringrun/ringrun/ring"
	"github.com/ringrun/ringrun/ring/rtc"
	"github.com/ringrun/ringrun/ring/tcp"
)

// A session is this peer under one ID: its node in the gossip group and its end
// of all links. A peer that was excluded starts a new one.
type session struct {
	node      *membership.Node
	transport ring.Transport
	book      *addressBook
}

// meta is what a peer tells the others about itself in the view.
type meta struct {
	Transport string   `json:"transport"`
	Codec     string   `json:"codec"`
	TCP       []string `json:"tcp,omitempty"`
}

// join starts a session. The TCP transport listens before the node starts,
// because its address travels with the node's request to join; WebRTC's signals
// travel through the node itself.
func join(ctx context.Context, cfg Config) (*session, error) {
	s := &session{book: &addressBook{}}
	m := meta{Transport: cfg.Transport, Codec: cfg.Codec}
	if cfg.Membership.ID == "" {
		cfg.Membership.ID = "peer-" + fmt.Sprintf("%x", randomBytes(4))
	}
	if cfg.Transport == "tcp" {
		t, err := listen(cfg, s.book)
		if err != nil {
			return nil, err
		}
		m.TCP = []string{advertised(cfg.Membership, t.Addr())}
		s.transport = t
	}
	var err error
	if cfg.Membership.Meta, err = json.Marshal(m); err != nil {
		return nil, err
	}
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

func listen(cfg Config, book *addressBook) (*tcp.Transport, error) {
	host, _, err := net.SplitHostPort(cfg.Membership.Bind)
	if err != nil || host == "" {
		host = "127.0.0.1"
	}
	return tcp.Listen(tcp.Config{
		ID:      cfg.Membership.ID,
		Run:     cfg.Membership.Run,
		Secret:  cfg.Membership.Secret,
		Bind:    net.JoinHostPort(host, "0"),
		Resolve: book.resolve,
	})
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

// learn takes up the addresses in a view. It fails if this peer cannot talk to
// the group, that is to the peer that is in it longest.
func (s *session) learn(v membership.View) error {
	addrs := make(map[string][]string, len(v.Peers))
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
		addrs[p.ID] = m.TCP
	}
	first := v.Peers[0].ID
	if own.Transport != group.Transport {
		return fmt.Errorf("elastic: %s uses transport %s, but this peer (%s) uses %s", first, group.Transport, s.node.ID(), own.Transport)
	}
	if own.Codec != group.Codec {
		return fmt.Errorf("elastic: %s uses codec %s, but this peer (%s) uses %s", first, group.Codec, s.node.ID(), own.Codec)
	}
	s.book.set(addrs)
	return nil
}

// An addressBook knows where the peers of the newest view listen.
type addressBook struct {
	mu    sync.Mutex // guards addrs
	addrs map[string][]string
}

func (b *addressBook) set(addrs map[string][]string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.addrs = addrs
}

func (b *addressBook) resolve(peer string) ([]string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	a, ok := b.addrs[peer]
	if !ok {
		return nil, fmt.Errorf("elastic: %s is not in the view", peer)
	}
	return a, nil
}

// signals lets the WebRTC transport talk through the gossip group.
type signals struct{ node *membership.Node }

func (s signals) Send(ctx context.Context, to string, data []byte) error {
	return s.node.Signal(ctx, to, data)
}

func (s signals) Receive(ctx context.Context) (string, []byte, error) {
	return s.node.Receive(ctx)
}
