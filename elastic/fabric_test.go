package elastic

import (
	"context"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ringrun/ringrun/ring"
)

// A fabric is what lies between the peers of a test: it cuts some off from others,
// and slows them down. Peers are numbered as those of a cluster.
type fabric struct {
	see func(from int, h ring.Header) // called before each frame; may be nil

	mu      sync.Mutex // guards the fields below
	addrs   map[string]int
	apart   map[[2]int]int // pairs that are cut, by how many faults
	slow    map[int]time.Duration
	changed chan struct{} // closed and replaced when a cut heals
}

func newFabric() *fabric {
	return &fabric{addrs: map[string]int{}, apart: map[[2]int]int{}, slow: map[int]time.Duration{}, changed: make(chan struct{})}
}

// number is that of a peer by its ID, whenever it has started anew.
func number(id string) int {
	base, _, _ := strings.Cut(strings.TrimPrefix(id, "p"), "-")
	n, err := strconv.Atoi(base)
	if err != nil {
		panic("no number in " + id)
	}
	return n
}

// plug prepares the configuration of a peer.
func (f *fabric) plug(i int, cfg *Config) {
	cfg.Membership.Reach = func(addr string) bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		to, known := f.addrs[addr]
		return !known || f.apart[pair(i, to)] == 0
	}
	cfg.wrap = func(_ string, t ring.Transport) ring.Transport { return wired{t, f, i} }
}

// knows notes the address of a peer.
func (f *fabric) knows(e event) {
	if e.Event == "listening" {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.addrs[e.Addr] = number(e.ID)
	}
}

func pair(p, q int) [2]int { return [2]int{min(p, q), max(p, q)} }

// cut lets nothing pass between two sides until undo is called.
func (f *fabric) cut(left, right []int) (undo func() error) {
	add := func(n int) {
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, p := range left {
			for _, q := range right {
				f.apart[pair(p, q)] += n
			}
		}
		close(f.changed)
		f.changed = make(chan struct{})
	}
	add(1)
	return func() error { add(-1); return nil }
}

func (f *fabric) slowDown(p int, d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.slow[p] = d
}

// pass waits until something may go from one peer to another.
func (f *fabric) pass(done <-chan struct{}, from, to int) bool {
	f.mu.Lock()
	d := f.slow[from]
	f.mu.Unlock()
	delay := time.NewTimer(d)
	defer delay.Stop()
	select {
	case <-delay.C:
	case <-done:
		return false
	}
	for {
		f.mu.Lock()
		apart, changed := f.apart[pair(from, to)] > 0, f.changed
		f.mu.Unlock()
		if !apart {
			return true
		}
		select {
		case <-changed:
		case <-done:
			return false
		}
	}
}

// A wired transport is one end of the fabric.
type wired struct {
	ring.Transport
	f    *fabric
	self int
}

func (t wired) Dial(ctx context.Context, e ring.Edge) (ring.Link, error) {
	return t.through(ctx, e, t.Transport.Dial)
}

func (t wired) Accept(ctx context.Context, e ring.Edge) (ring.Link, error) {
	return t.through(ctx, e, t.Transport.Accept)
}

func (t wired) through(ctx context.Context, e ring.Edge, open func(context.Context, ring.Edge) (ring.Link, error)) (ring.Link, error) {
	if !t.f.pass(ctx.Done(), t.self, number(e.Peer)) {
		return nil, context.Cause(ctx)
	}
	l, err := open(ctx, e)
	if err != nil {
		return nil, err
	}
	return &wiredLink{Link: l, wired: t, peer: number(e.Peer), closed: make(chan struct{})}, nil
}

// A wiredLink holds frames back while its ends are cut off from each other.
type wiredLink struct {
	ring.Link
	wired
	peer   int
	once   sync.Once
	closed chan struct{}
}

func (l *wiredLink) Send(h ring.Header, body []byte) error {
	if l.f.see != nil {
		l.f.see(l.self, h)
	}
	if !l.f.pass(l.closed, l.self, l.peer) {
		return net.ErrClosed
	}
	return l.Link.Send(h, body)
}

func (l *wiredLink) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Link.Close()
}
