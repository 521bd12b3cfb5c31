package elastic

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/ringrun/ringrun/membership"
	"github.com/ringrun/ringrun/ring"
	"github.com/ringrun/ringrun/ring/shm"
	"github.com/ringrun/ringrun/ring/tcp"
	"go.uber.org/zap"
)

// edges opens each link by the best way between its two ends: shared memory on
// one host, else TCP. Both ends know from the view what both can do, so they
// choose alike and nothing has to be tried.
type edges struct {
	shm  *shm.Transport // nil where there is no shared memory
	tcp  *tcp.Transport
	book *addressBook
}

// within returns the transport for a ring of these peers: if all share this
// host's memory, that alone, because its frames may be larger.
func (t *edges) within(peers map[string]meta, own meta) ring.Transport {
	for _, m := range peers {
		if !own.sharesWith(m) {
			return t
		}
	}
	return t.shm
}

func (t *edges) to(e ring.Edge) ring.Transport {
	if t.shm != nil && t.book.sameHost(e.Self, e.Peer) {
		return t.shm
	}
	return t.tcp
}

func (t *edges) Dial(ctx context.Context, e ring.Edge) (ring.Link, error) {
	return t.to(e).Dial(ctx, e)
}

func (t *edges) Accept(ctx context.Context, e ring.Edge) (ring.Link, error) {
	return t.to(e).Accept(ctx, e)
}

// Limits are those of TCP, so that all peers of a ring have the same, whatever
// their links are. Shared memory takes frames of any size.
func (t *edges) Limits() ring.Limits { return t.tcp.Limits() }

func (t *edges) Close() error {
	var err error
	if t.shm != nil {
		err = t.shm.Close()
	}
	return errors.Join(err, t.tcp.Close())
}

// An addressBook knows where the peers of the newest view are.
type addressBook struct {
	mu    sync.Mutex // guards peers
	peers map[string]meta
}

func (b *addressBook) set(peers map[string]meta) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.peers = peers
}

func (b *addressBook) find(peer string) (meta, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	m, ok := b.peers[peer]
	if !ok {
		return meta{}, fmt.Errorf("elastic: %s is not in the view", peer)
	}
	return m, nil
}

func (b *addressBook) tcp(peer string) ([]string, error) {
	m, err := b.find(peer)
	return m.TCP, err
}

func (b *addressBook) shm(peer string) (string, error) {
	m, err := b.find(peer)
	return m.SHM, err
}

// sameHost reports whether two peers can share memory.
func (b *addressBook) sameHost(p, q string) bool {
	m, err := b.find(p)
	n, err2 := b.find(q)
	return err == nil && err2 == nil && m.sharesWith(n)
}

// sharesWith reports whether two peers can share memory.
func (m meta) sharesWith(n meta) bool {
	return m.SHM != "" && n.SHM != "" && m.Host != "" && m.Host == n.Host && m.Place == n.Place
}

// between names the way between two peers.
func (m meta) between(n meta) string {
	switch {
	case m.Transport != "auto":
		return m.Transport
	case m.sharesWith(n):
		return "shm"
	default:
		return "tcp"
	}
}

// sayLinks logs how this peer reaches its neighbours in the view.
func (s *session) sayLinks(v membership.View, peers map[string]meta) {
	size, rank := len(v.Peers), v.Rank(s.node.ID())
	if size < 2 || rank < 0 {
		return
	}
	own := peers[s.node.ID()]
	next, previous := v.Peers[(rank+1)%size].ID, v.Peers[(rank+size-1)%size].ID
	s.logger.Info("links", zap.Uint64("epoch", v.Epoch),
		zap.String("next", next), zap.String("by", own.between(peers[next])),
		zap.String("previous", previous), zap.String("from it by", own.between(peers[previous])))
}
