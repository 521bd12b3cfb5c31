// Package ringtest has an in-memory network for tests of what is built on
// package ring, and the suite that every transport must pass.
//
// The network uses no sockets and no clock but package time's, so that it runs
// inside a testing/synctest bubble.
package ringtest

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/ringrun/ringrun/ring"
)

// Options describes a network. Zero fields mean the defaults.
type Options struct {
	FrameBytes int           // default 64 KiB
	Lanes      int           // default 1
	Window     int           // bytes that a link holds before Send blocks; default 4 frames
	Delay      time.Duration // from Send to the other end; default none
	// Pollable makes links that can be polled, and a short lane. Who polls spins,
	// so that the time in a testing/synctest bubble would stand still.
	Pollable bool
}

// Net is an in-memory network between peers, with faults on demand.
type Net struct {
	opts Options

	mu      sync.Mutex // guards what follows, and all pipes
	waiting map[call]*meeting
	links   map[*link]bool // open at this end
	stalled map[string]bool
	killed  map[string]bool
}

// NewNet returns a network without peers; Transport adds them.
func NewNet(opts Options) *Net {
	if opts.FrameBytes == 0 {
		opts.FrameBytes = 64 << 10
	}
	if opts.Lanes == 0 {
		opts.Lanes = 1
	}
	if opts.Window == 0 {
		opts.Window = 4 * opts.FrameBytes
	}
	return &Net{
		opts:    opts,
		waiting: map[call]*meeting{},
		links:   map[*link]bool{},
		stalled: map[string]bool{},
		killed:  map[string]bool{},
	}
}

// Transport returns the transport of one peer.
func (n *Net) Transport(self string) ring.Transport {
	return &transport{net: n, self: self, closed: make(chan struct{})}
}

// Cut breaks all links between two peers, as if each had reset them. New ones
// can be opened.
func (n *Net) Cut(a, b string) {
	n.breakLinks(func(l *link) bool {
		return l.edge.Self == a && l.edge.Peer == b || l.edge.Self == b && l.edge.Peer == a
	})
}

// Kill breaks all links of a peer, as the end of its process does. Nobody
// reaches it any more.
func (n *Net) Kill(peer string) {
	n.mu.Lock()
	n.killed[peer] = true
	n.mu.Unlock()
	n.breakLinks(func(l *link) bool { return l.edge.Self == peer || l.edge.Peer == peer })
}

// Stall stops a peer as SIGSTOP would: what it sends, even that it closes a
// link, is held back, and it receives nothing. Resume lets it go on.
func (n *Net) Stall(peer string) { n.setStalled(peer, true) }

// Resume ends what Stall began.
func (n *Net) Resume(peer string) { n.setStalled(peer, false) }

// Links returns the number of link ends that are not closed.
func (n *Net) Links() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.links)
}

func (n *Net) setStalled(peer string, on bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.stalled[peer] = on
	for l := range n.links {
		l.wake()
	}
}

func (n *Net) breakLinks(which func(*link) bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for l := range n.links {
		if which(l) {
			l.in.broken, l.out.broken = true, true
			l.wake()
		}
	}
}

// A call is a link as its dialling end names it.
type call struct {
	from, to string
	epoch    uint64
	lane     int
}

// A meeting is an end that waits for the other one.
type meeting struct {
	dials bool
	link  chan *link // capacity 1: who comes second does not wait
}

type transport struct {
	net    *Net
	self   string
	once   sync.Once
	closed chan struct{}
}

func (t *transport) Limits() ring.Limits {
	o := t.net.opts
	return ring.Limits{FrameBytes: o.FrameBytes, Lanes: o.Lanes, Short: o.Pollable}
}

func (t *transport) Dial(ctx context.Context, e ring.Edge) (ring.Link, error) {
	return t.meet(ctx, e, call{e.Self, e.Peer, e.Epoch, e.Lane}, true)
}

func (t *transport) Accept(ctx context.Context, e ring.Edge) (ring.Link, error) {
	return t.meet(ctx, e, call{e.Peer, e.Self, e.Epoch, e.Lane}, false)
}

func (t *transport) Close() error {
	t.once.Do(func() { close(t.closed) })
	return nil
}

func (t *transport) meet(ctx context.Context, e ring.Edge, c call, dials bool) (ring.Link, error) {
	if e.Self != t.self {
		return nil, fmt.Errorf("ringtest: %q opens a link in the name of %q", t.self, e.Self)
	}
	select {
	case <-t.closed:
		return nil, fmt.Errorf("ringtest: transport of %s: %w", t.self, net.ErrClosed)
	default:
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	m, l, err := t.net.arrive(e, c, dials)
	if err != nil {
		return nil, err
	}
	if l != nil {
		return t.net.opened(l), nil
	}
	select {
	case l = <-m.link:
		return t.net.opened(l), nil
	case <-ctx.Done():
		err = ctx.Err()
	case <-t.closed:
		err = fmt.Errorf("ringtest: transport of %s: %w", t.self, net.ErrClosed)
	}
	t.net.withdraw(c, m)
	return nil, err
}

func (n *Net) opened(l *link) ring.Link {
	if n.opts.Pollable {
		return &pollable{link: l}
	}
	return l
}

// arrive joins the end that waits already, or waits for it.
func (n *Net) arrive(e ring.Edge, c call, dials bool) (*meeting, *link, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.killed[e.Self] || n.killed[e.Peer] {
		return nil, nil, fmt.Errorf("ringtest: link from %s to %s: connection refused", e.Self, e.Peer)
	}
	if m := n.waiting[c]; m != nil && m.dials != dials {
		delete(n.waiting, c)
		mine, theirs := n.pair(e)
		m.link <- theirs
		return nil, mine, nil
	} else if m != nil {
		return nil, nil, fmt.Errorf("ringtest: link %+v is opened twice", c)
	}
	m := &meeting{dials: dials, link: make(chan *link, 1)}
	n.waiting[c] = m
	return m, nil, nil
}

// withdraw ends the wait for the other end. If that has come meanwhile it finds
// a link that is closed.
func (n *Net) withdraw(c call, m *meeting) {
	n.mu.Lock()
	if n.waiting[c] == m {
		delete(n.waiting, c)
	}
	n.mu.Unlock()
	select {
	case l := <-m.link:
		l.Close()
	default:
	}
}
