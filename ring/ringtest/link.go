package ringtest

import (
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/ringrun/ringrun/ring"
)

var errReset = errors.New("connection reset by peer")

// A link is one end of a pair.
type link struct {
	net     *Net
	edge    ring.Edge
	in, out *pipe
	body    []byte // what is left of the frame that Next announced
	closed  bool
}

// A pipe is one direction. The lock of the net guards it.
type pipe struct {
	changed  *sync.Cond
	from, to string
	frames   []frame
	bytes    int
	ended    bool // the sender has closed its end
	unread   bool // the receiver has closed its end
	broken   bool
}

type frame struct {
	at     time.Time // when it arrives
	header ring.Header
	body   []byte
}

// pair returns the two ends of a new link.
func (n *Net) pair(e ring.Edge) (mine, theirs *link) {
	there := &pipe{changed: sync.NewCond(&n.mu), from: e.Self, to: e.Peer}
	back := &pipe{changed: sync.NewCond(&n.mu), from: e.Peer, to: e.Self}
	mine = &link{net: n, edge: e, in: back, out: there}
	e.Self, e.Peer = e.Peer, e.Self
	theirs = &link{net: n, edge: e, in: there, out: back}
	n.links[mine], n.links[theirs] = true, true
	return mine, theirs
}

func (l *link) Send(h ring.Header, body []byte) error {
	if int(h.Length) != len(body) {
		panic(fmt.Sprintf("ringtest: header says %d bytes, body has %d", h.Length, len(body)))
	}
	h, err := ring.ParseHeader(h.AppendTo(nil)) // what the wire would make of it
	if err != nil {
		return err
	}
	n, p := l.net, l.out
	f := frame{header: h, body: slices.Clone(body)}
	n.mu.Lock()
	defer n.mu.Unlock()
	for l.full(len(body)) {
		p.changed.Wait()
	}
	switch {
	case l.closed:
		return l.closedError()
	case p.broken || p.unread && !n.stalled[p.to]:
		return l.wrap(errReset)
	}
	f.at = time.Now().Add(n.opts.Delay)
	p.frames = append(p.frames, f)
	p.bytes += ring.HeaderBytes + len(body)
	if n.opts.Delay > 0 {
		time.AfterFunc(n.opts.Delay, p.arrived)
	}
	p.changed.Broadcast()
	return nil
}

// arrived wakes who waits for a frame that was delayed. The lock is needed: without
// it, a reader that has just looked at the clock and is about to wait is missed.
func (p *pipe) arrived() {
	p.changed.L.Lock()
	defer p.changed.L.Unlock()
	p.changed.Broadcast()
}

// full reports whether a body must wait for the window.
func (l *link) full(body int) bool {
	p := l.out
	return !l.closed && !p.broken && !p.unread && p.bytes > 0 && p.bytes+body > l.net.opts.Window
}

// wake makes all who wait at this end or the other look again.
func (l *link) wake() {
	l.in.changed.Broadcast()
	l.out.changed.Broadcast()
}

func (l *link) Next() (ring.Header, error) {
	l.net.mu.Lock()
	defer l.net.mu.Unlock()
	for {
		if h, ok, err := l.take(); ok || err != nil {
			return h, err
		}
		l.in.changed.Wait()
	}
}

// take returns the header of the next frame, if it is here.
func (l *link) take() (ring.Header, bool, error) {
	l.body = nil
	ok, err := l.here()
	if !ok || err != nil {
		return ring.Header{}, false, err
	}
	p := l.in
	f := p.frames[0]
	p.frames = p.frames[1:]
	p.bytes -= ring.HeaderBytes + len(f.body)
	l.body = f.body
	p.changed.Broadcast()
	return f.header, true, nil
}

// here reports whether a frame has arrived.
func (l *link) here() (bool, error) {
	n, p := l.net, l.in
	switch quiet := n.stalled[p.from] || n.stalled[p.to]; {
	case l.closed:
		return false, l.closedError()
	case p.broken:
		return false, l.wrap(errReset)
	case quiet:
	case len(p.frames) > 0 && !time.Now().Before(p.frames[0].at):
		return true, nil
	case len(p.frames) == 0 && p.ended:
		return false, l.wrap(io.ErrUnexpectedEOF)
	}
	return false, nil
}

func (l *link) Read(b []byte) (int, error) {
	l.net.mu.Lock()
	defer l.net.mu.Unlock()
	if l.closed {
		return 0, l.closedError()
	}
	if len(b) > 0 && len(l.body) == 0 {
		return 0, io.EOF
	}
	k := copy(b, l.body)
	l.body = l.body[k:]
	return k, nil
}

func (l *link) Close() error {
	n := l.net
	n.mu.Lock()
	defer n.mu.Unlock()
	l.closed, l.out.ended, l.in.unread = true, true, true
	delete(n.links, l)
	l.wake()
	return nil
}

func (l *link) closedError() error { return l.wrap(net.ErrClosed) }

func (l *link) wrap(err error) error {
	return fmt.Errorf("ringtest: link to %s: %w", l.edge.Peer, err)
}
