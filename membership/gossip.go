package membership

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
	"go.uber.org/zap"
)

// maxPacket is the largest message sent as a packet only; what memberlist adds to
// it stays below the usual MTU. Up to maxPieces it is sent as one as well as over
// a stream: it may get through in pieces long before a stream does, if the way was
// cut until now.
const (
	maxPacket = 1200
	maxPieces = 8 << 10
)

// A gossip is this peer's place in the gossip group. It knows the addresses of
// others and carries messages to them; all that it says about who lives is
// hearsay.
type gossip struct {
	transport *transport
	list      *memberlist.Memberlist
	deliver   func(b []byte)
	out       *outbox
	log       *zap.Logger
	founder   bool

	life sync.Mutex // held by leave and close: memberlist panics if they meet

	mu      sync.Mutex
	closed  bool
	known   map[string]string // ID to address of the others thought alive
	running sync.WaitGroup    // calls that close waits for
}

// startGossip binds the port, then founds the group or joins it. deliver gets
// each message for this peer, in any order, some of them twice or never; it is
// called from several goroutines, must not block, and may keep the bytes.
func startGossip(ctx context.Context, cfg Config, deliver func(b []byte)) (*gossip, error) {
	t, err := listen(cfg)
	if err != nil {
		return nil, err
	}
	g := &gossip{transport: t, deliver: deliver, log: cfg.Logger, known: make(map[string]string)}
	if g.list, err = memberlist.Create(g.config(cfg)); err != nil {
		t.Shutdown()
		return nil, fmt.Errorf("membership: %w", err)
	}
	g.out = &outbox{send: g.transmit, log: g.log, queues: make(map[string][][]byte)}
	stop := afterFunc(ctx, func() { t.Shutdown() }) // memberlist's join knows no context
	g.founder, err = g.join(ctx, cfg)
	if !stop() {
		err = fmt.Errorf("membership: join: %w", context.Cause(ctx))
	}
	if err != nil {
		g.close()
		return nil, err
	}
	t.grouped.Store(g.founder) // others when they are in a view
	return g, nil
}

// config makes memberlist quick, but not hasty: with all cores busy a shorter
// probe would declare living peers dead. State is exchanged often because now
// and then a broadcast is lost.
func (g *gossip) config(cfg Config) *memberlist.Config {
	c := memberlist.DefaultLANConfig()
	c.Name = cfg.ID
	c.Transport = g.transport
	c.SecretKey = deriveKey(cfg.Secret, "gossip", cfg.Run)    // 32 bytes: AES-256-GCM
	c.Logger, _ = zap.NewStdLogAt(cfg.Logger, zap.DebugLevel) // fails for no valid level
	c.Delegate = delegate{g}
	c.Events = events{g}
	c.Conflict = events{g}
	c.TCPTimeout = streamTimeout
	c.PushPullInterval = 2 * time.Second
	c.ProbeInterval = 500 * time.Millisecond
	c.ProbeTimeout = 250 * time.Millisecond
	c.AwarenessMaxMultiplier = 4
	c.SuspicionMaxTimeoutMult = 3
	c.GossipInterval = 100 * time.Millisecond
	c.EnableCompression = false
	return c
}

// founded reports whether we founded the group, or else joined it.
func (g *gossip) founded() bool { return g.founder }

// addr returns the address at which the others reach us.
func (g *gossip) addr() string { return g.transport.advertise.String() }

// members returns the addresses, sorted, of all other peers thought alive.
func (g *gossip) members() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	addrs := make([]string, 0, len(g.known))
	for _, a := range g.known {
		addrs = append(addrs, a)
	}
	slices.Sort(addrs)
	return slices.Compact(addrs)
}

// send sends a message to an address, which may or may not arrive. It does not
// block and does not keep b.
func (g *gossip) send(addr string, b []byte) {
	if !g.begin() {
		return
	}
	defer g.running.Done()
	if len(b) > maxPacket {
		g.out.put(addr, bytes.Clone(b))
	}
	if len(b) > maxPieces {
		return
	}
	if err := g.list.SendToAddress(memberlist.Address{Addr: addr}, b); err != nil {
		g.log.Debug("gossip: packet not sent", zap.String("to", addr), zap.Error(err))
	}
}

// sendReliable sends a message and returns nil when it is in the hands of the
// peer's host. When ctx ends first, it may arrive nevertheless.
func (g *gossip) sendReliable(ctx context.Context, addr string, b []byte) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("membership: send to %s: %w", addr, err)
	}
	if !g.begin() {
		return ErrClosed
	}
	b = bytes.Clone(b)
	result := make(chan error, 1) // the sender never waits for us
	go func() {
		defer g.running.Done()
		result <- g.transmit(addr, b)
	}()
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
		return fmt.Errorf("membership: send to %s: %w", addr, ctx.Err())
	}
}

// transmit sends a message over a stream, within 2·streamTimeout.
func (g *gossip) transmit(addr string, b []byte) error {
	to, err := netip.ParseAddrPort(addr)
	if err == nil {
		n := &memberlist.Node{Addr: to.Addr().AsSlice(), Port: to.Port()}
		err = g.list.SendReliable(n, b)
	}
	if err != nil {
		return fmt.Errorf("membership: send to %s: %w", addr, err)
	}
	return nil
}

// begin counts a call in that close has to wait for, unless closed.
func (g *gossip) begin() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	g.running.Add(1)
	return true
}

// leave tells the others that we go, and waits until one of them was told, or
// for timeout.
func (g *gossip) leave(timeout time.Duration) {
	g.life.Lock()
	defer g.life.Unlock()
	if !g.begin() {
		return
	}
	defer g.running.Done()
	if err := g.list.Leave(timeout); err != nil {
		g.log.Debug("gossip: leave", zap.Error(err))
	}
}

// close frees the port. When it returns, deliver is not called any more. It may
// be called more than once.
//
// What memberlist has started itself ends at once too, except for a probe of its
// own that is under way: that waits for its timeout, 2 s at most, touching
// nothing of ours.
func (g *gossip) close() error {
	g.life.Lock()
	defer g.life.Unlock()
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	err := g.list.Shutdown()
	g.out.close()
	g.running.Wait()
	return err
}

// A delegate gets messages from memberlist.
type delegate struct{ g *gossip }

func (d delegate) NotifyMsg(b []byte) {
	if !d.g.begin() {
		return
	}
	defer d.g.running.Done()
	d.g.deliver(bytes.Clone(b))
}

func (delegate) NodeMeta(int) []byte             { return nil }
func (delegate) GetBroadcasts(int, int) [][]byte { return nil }
func (delegate) LocalState(bool) []byte          { return nil }
func (delegate) MergeRemoteState([]byte, bool)   {}

// events keep our own list of the others. They are called under memberlist's
// lock, so they must not call it; and the list that it hands out has pointers
// into its state, which must not be read without that lock.
type events struct{ g *gossip }

func (e events) NotifyJoin(n *memberlist.Node) {
	if n.Name == e.g.transport.door.id {
		return
	}
	e.g.log.Debug("gossip: up", zap.String("peer", n.Name), zap.String("addr", n.Address()))
	e.g.mu.Lock()
	e.g.known[n.Name] = n.Address()
	e.g.mu.Unlock()
}

func (e events) NotifyLeave(n *memberlist.Node) {
	e.g.log.Debug("gossip: down", zap.String("peer", n.Name), zap.String("addr", n.Address()))
	e.g.mu.Lock()
	delete(e.g.known, n.Name)
	e.g.mu.Unlock()
}

func (e events) NotifyUpdate(n *memberlist.Node) { e.NotifyJoin(n) }

func (e events) NotifyConflict(mine, other *memberlist.Node) {
	e.g.log.Warn("gossip: two peers have one ID", zap.String("peer", mine.Name),
		zap.String("addr", mine.Address()), zap.String("other", other.Address()))
}
