package membership

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/ringrun/ringrun/membership/strangers"
	"go.uber.org/zap"
)

const (
	// helloTimeout is how long an acceptor waits for a stranger to say hello.
	helloTimeout = 5 * time.Second
	// maxStreams bounds the accepted streams of those who have said hello; further
	// ones are closed at once. A strangers.Crowd bounds the others.
	maxStreams = 512
	// streamTimeout bounds writing to a stream that memberlist has dialed, for
	// which it sets no deadline itself when it sends a message.
	streamTimeout = 3 * time.Second

	udpBytes       = 1 << 16
	udpBufferBytes = 1 << 20
)

// A transport carries memberlist's packets and streams over one UDP socket and
// one TCP listener of the same port. Streams begin with our hello, so that
// memberlist only ever sees peers who have proved that they know the secret.
//
// The port is held from the start of the peer to its end: that it refuses
// connections is the proof of the peer's death.
type transport struct {
	door      *doorman
	log       *zap.Logger
	listener  *net.TCPListener
	socket    *net.UDPConn
	advertise netip.AddrPort
	control   *controller            // nil: none
	reach     func(addr string) bool // see Config
	crowd     *strangers.Crowd
	slots     chan struct{} // one for each stream
	grouped   atomic.Bool   // we are in a view, or founded the group

	packets chan *memberlist.Packet // unbuffered: the kernel has a buffer
	streams chan net.Conn           // unbuffered: memberlist only starts a goroutine
	quit    chan struct{}
	wg      sync.WaitGroup

	mu     sync.Mutex
	closed bool
	next   int
	open   map[int]func() // what to call on Shutdown: it closes or cancels
}

var _ memberlist.NodeAwareTransport = (*transport)(nil)

// listen binds the port and begins to serve it.
func listen(cfg Config) (*transport, error) {
	l, s, err := bind(cfg.Bind)
	if err != nil {
		return nil, err
	}
	t := &transport{
		door: newDoorman(cfg), log: cfg.Logger, listener: l, socket: s, reach: cfg.Reach,
		packets: make(chan *memberlist.Packet), streams: make(chan net.Conn),
		quit: make(chan struct{}), open: make(map[int]func()), slots: make(chan struct{}, maxStreams),
	}
	t.crowd = strangers.New(strangers.Limits{}, func(line string) { t.log.Warn("gossip: " + line) })
	if t.advertise, err = advertised(cfg.Advertise, addrPort(l.Addr())); err != nil {
		l.Close()
		s.Close()
		return nil, err
	}
	s.SetReadBuffer(udpBufferBytes) // best effort; gossip tolerates loss
	if t.control, err = newController(cfg, l.Addr(), t.quit); err != nil {
		l.Close()
		s.Close()
		return nil, err
	}
	if t.control != nil {
		t.wg.Go(func() { t.control.server.Serve(t.control) })
	}
	t.wg.Go(t.accept)
	t.wg.Go(t.receive)
	return t, nil
}

// accept serves the listener until it is closed.
func (t *transport) accept() {
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		c, err := t.listener.AcceptTCP()
		if err != nil {
			if !t.wait(pause, 50*time.Millisecond) {
				return
			}
			t.log.Warn("gossip: accept", zap.Error(err)) // no file descriptors, say
			continue
		}
		stranger := t.crowd.Enter(c)
		t.wg.Go(func() { t.serve(c, stranger) })
	}
}

// wait returns false when the transport is closed, else true after d.
func (t *transport) wait(timer *time.Timer, d time.Duration) bool {
	timer.Reset(d)
	select {
	case <-t.quit:
		return false
	case <-timer.C:
		return true
	}
}

// serve answers a hello and hands a stream to memberlist. It returns when the
// stream is closed.
func (t *transport) serve(c net.Conn, stranger *strangers.Stranger) {
	s, ok := t.newStream(c)
	if !ok {
		stranger.Leave("")
		return
	}
	c.SetDeadline(time.Now().Add(helloTimeout))
	kind, err := t.door.answer(c, t.grouped.Load())
	stranger.Leave(blame(kind, err))
	if err != nil {
		s.Close()
		t.log.Debug("gossip: no hello", zap.Stringer("from", c.RemoteAddr()), zap.Error(err))
		return
	}
	select {
	case t.slots <- struct{}{}:
		defer func() { <-t.slots }()
	default:
		s.Close()
		return
	}
	if kind == helloHold {
		c.SetDeadline(time.Time{})
		io.Copy(io.Discard, s) // until either end goes
		s.Close()
		return
	}
	if kind == helloControl {
		t.control.serve(s)
		return
	}
	if kind != helloStream {
		s.Close()
		return
	}
	select {
	case t.streams <- s: // memberlist sets a deadline of its own
		<-s.done
	case <-t.quit:
		s.Close()
	}
}

// blame says what is reported of a hello that has failed: nothing, if it may be a
// peer that has changed its mind, or if we have closed the connection.
func blame(kind byte, err error) string {
	var refused *refusedError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &refused):
		return refused.who
	case errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, net.ErrClosed):
		return ""
	case kind == 0:
		return strangers.NoHello
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "no proof of the secret"
	}
	return ""
}

// receive reads packets until the socket is closed.
func (t *transport) receive() {
	pause := time.NewTimer(0)
	defer pause.Stop()
	buf := make([]byte, udpBytes)
	for {
		n, from, err := t.socket.ReadFromUDPAddrPort(buf)
		if err != nil {
			if !t.wait(pause, time.Millisecond) {
				return
			}
			continue
		}
		if n == 0 {
			continue
		}
		from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
		p := &memberlist.Packet{
			Buf: append([]byte(nil), buf[:n]...), From: net.UDPAddrFromAddrPort(from), Timestamp: time.Now(),
		}
		select {
		case t.packets <- p:
		case <-t.quit:
			return
		}
	}
}

// onShutdown has f called when the transport closes, unless forget is called
// before. It returns false if that has happened already.
func (t *transport) onShutdown(f func()) (forget func(), ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, false
	}
	t.next++
	n := t.next
	t.open[n] = f
	return func() {
		t.mu.Lock()
		delete(t.open, n)
		t.mu.Unlock()
	}, true
}

// Shutdown frees the port and ends all streams and goroutines of the transport.
// It may be called more than once.
func (t *transport) Shutdown() error {
	t.mu.Lock()
	first := !t.closed
	t.closed = true
	open := t.open
	t.open = make(map[int]func())
	t.mu.Unlock()
	if first {
		close(t.quit)
		t.listener.Close()
		t.socket.Close()
		if t.control != nil {
			t.control.server.Close()
		}
	}
	for _, f := range open {
		f()
	}
	t.wg.Wait()
	t.crowd.Close()
	return nil
}

// FinalAdvertiseAddr implements [memberlist.Transport].
func (t *transport) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	return t.advertise.Addr().AsSlice(), int(t.advertise.Port()), nil
}

// PacketCh implements [memberlist.Transport].
func (t *transport) PacketCh() <-chan *memberlist.Packet { return t.packets }

// StreamCh implements [memberlist.Transport].
func (t *transport) StreamCh() <-chan net.Conn { return t.streams }

// WriteTo implements [memberlist.Transport].
func (t *transport) WriteTo(b []byte, addr string) (time.Time, error) {
	to, err := netip.ParseAddrPort(addr)
	if err != nil {
		return time.Time{}, err
	}
	if !t.reach(addr) {
		return time.Now(), nil
	}
	_, err = t.socket.WriteToUDPAddrPort(b, netip.AddrPortFrom(to.Addr().Unmap(), to.Port()))
	return time.Now(), err
}

// WriteToAddress implements [memberlist.NodeAwareTransport].
func (t *transport) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	return t.WriteTo(b, a.Addr)
}

// DialTimeout implements [memberlist.Transport].
func (t *transport) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	return t.DialAddressTimeout(memberlist.Address{Addr: addr}, timeout)
}

// DialAddressTimeout implements [memberlist.NodeAwareTransport]. Who answers must
// have the name wanted, if there is one.
func (t *transport) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	s, w, err := t.dial(ctx, a.Addr, helloStream)
	if err != nil {
		return nil, err
	}
	if a.Name != "" && a.Name != w.id {
		s.Close()
		return nil, fmt.Errorf("%s is %q, not %q", a.Addr, w.id, a.Name)
	}
	s.SetDeadline(time.Now().Add(streamTimeout))
	return s, nil
}
