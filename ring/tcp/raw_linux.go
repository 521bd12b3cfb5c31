//go:build !386

package tcp

import (
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/ringrun/ringrun/ring"
)

// A rawLink is a link over a descriptor that Go's netpoller does not know: a
// connection that it knows wakes one of its threads with every packet, and so
// disturbs who polls. It sleeps at gates.
type rawLink struct {
	fd         int
	peer       string
	addr       net.Addr
	background func(func()) bool
	patience   time.Duration // see linger
	once       sync.Once
	closed     atomic.Bool

	writing  sync.Mutex // held while somebody sends: Close must not give back the descriptor
	head     [ring.HeaderBytes + copyBytes]byte
	left     [2][]byte // of the frame that was begun
	vec      vector
	seal     *seal // nil: nothing is encrypted
	writable *gate

	reading  sync.Mutex // likewise
	buf      []byte     // what was read ahead
	rest     int        // bytes of the body not yet read
	room     [readBytes]byte
	ahead    atomic.Bool // there may be more than what the descriptor has
	readable *gate
}

const (
	// copyBytes is the largest body that is copied behind its header: less work
	// than to tell the kernel of two places.
	copyBytes = 2 << 10
	// strideBytes is the most that is moved by one system call: who works both
	// directions must get back to the other one.
	strideBytes = 512 << 10
)

// direct makes a rawLink of a connection, which it takes over. It returns nil
// when that cannot be done.
func (t *Transport) direct(conn *net.TCPConn, s *seal, e ring.Edge) ring.Link {
	if t.plain {
		return nil
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil
	}
	fd := -1
	raw.Control(func(of uintptr) { fd, err = duplicate(int(of)) })
	if err != nil || fd < 0 {
		return nil
	}
	l := &rawLink{fd: fd, peer: e.Peer, addr: conn.RemoteAddr(), background: t.lobby.Background, patience: t.linger, seal: s}
	if l.readable, err = newGate(fd, syscall.EPOLLIN|syscall.EPOLLRDHUP); err == nil {
		if l.writable, err = newGate(fd, syscall.EPOLLOUT); err == nil {
			conn.Close()
			if s != nil {
				l.ahead.Store(true) // it may have read on
				s.pipe.turn(l.draw)
			}
			return l
		}
		l.readable.close()
	}
	syscall.Close(fd)
	return nil
}

func (l *rawLink) Send(h ring.Header, body []byte) error {
	l.Begin(h, body)
	_, err := l.Push(true)
	return err
}

// Begin implements ring.Pollable.
func (l *rawLink) Begin(h ring.Header, body []byte) {
	head := h.AppendTo(l.head[:0])
	if len(body) <= copyBytes {
		head, body = append(head, body...), nil
	}
	l.left = [2][]byte{head, body}
}

// Push implements ring.Pollable.
func (l *rawLink) Push(wait bool) (done bool, err error) {
	l.writing.Lock()
	defer l.writing.Unlock()
	sending()
	for {
		if l.closed.Load() {
			return false, l.explain(net.ErrClosed)
		}
		done, err := l.transmit()
		switch err {
		case nil:
			if done || !wait {
				return done, nil
			}
		case syscall.EINTR:
		case syscall.EAGAIN:
			if !wait {
				return false, nil
			}
			if err := l.writable.wait(); err != nil {
				return false, l.explain(err)
			}
		default:
			return false, l.explain(err)
		}
	}
}

// transmit sends what the window takes, at most a stride, and reports whether
// that was the rest of the frame.
func (l *rawLink) transmit() (done bool, err error) {
	if l.seal != nil {
		return l.seal.transmit(l.fd, &l.left)
	}
	n, no := l.vec.send(l.fd, &l.left)
	if no != 0 {
		return false, no
	}
	return advance(&l.left, n), nil
}

// advance takes n bytes off what is left, and reports whether that was all.
func advance(left *[2][]byte, n int) bool {
	for i := range left {
		k := min(n, len(left[i]))
		left[i] = left[i][k:]
		n -= k
	}
	if len(left[0])+len(left[1]) > 0 {
		return false
	}
	*left = [2][]byte{}
	return true
}

func (l *rawLink) Next() (ring.Header, error) {
	for {
		h, ok, err := l.Poll()
		if ok || err != nil {
			return h, err
		}
		if err := l.Await(); err != nil {
			return ring.Header{}, err
		}
	}
}

// Poll implements ring.Pollable.
func (l *rawLink) Poll() (h ring.Header, ok bool, err error) {
	l.reading.Lock()
	defer l.reading.Unlock()
	defer func() { l.ahead.Store(ok) }()
	for l.rest > 0 || len(l.buf) < ring.HeaderBytes {
		n := min(l.rest, len(l.buf))
		l.buf, l.rest = l.buf[n:], l.rest-n
		if len(l.buf) >= ring.HeaderBytes {
			break
		}
		more, err := l.receive(l.room[copy(l.room[:], l.buf):])
		if more == 0 || err != nil {
			return ring.Header{}, false, err
		}
		l.buf = l.room[:len(l.buf)+more]
	}
	received()
	h, err = ring.ParseHeader(l.buf)
	if err != nil {
		return h, false, l.explain(err)
	}
	l.buf, l.rest = l.buf[ring.HeaderBytes:], int(h.Length)
	return h, true, nil
}

func (l *rawLink) Read(p []byte) (int, error) {
	for {
		n, err := l.TryRead(p)
		if n > 0 || err != nil || len(p) == 0 {
			return n, err
		}
		if err := l.Await(); err != nil {
			return 0, err
		}
	}
}

// TryRead implements ring.Pollable.
func (l *rawLink) TryRead(p []byte) (n int, err error) {
	l.reading.Lock()
	defer l.reading.Unlock()
	if l.closed.Load() {
		return 0, l.explain(net.ErrClosed)
	}
	if l.rest == 0 {
		return 0, io.EOF
	}
	p = p[:min(len(p), l.rest, strideBytes)]
	if len(l.buf) > 0 {
		n = copy(p, l.buf)
		l.buf = l.buf[n:]
	} else if len(p) > 0 {
		n, err = l.receive(p)
	}
	l.rest -= n
	l.ahead.Store(n > 0)
	return n, err
}

// receive reads what is here, perhaps nothing, into p.
func (l *rawLink) receive(p []byte) (int, error) {
	if l.closed.Load() {
		return 0, l.explain(net.ErrClosed)
	}
	draw := l.draw
	if l.seal != nil {
		draw = l.seal.draw
	}
	n, err := draw(p)
	if err == io.EOF { // a peer says Bye first
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		err = l.explain(err)
	}
	return n, err
}

// draw reads what the descriptor has.
func (l *rawLink) draw(p []byte) (int, error) {
	for {
		if l.closed.Load() {
			return 0, net.ErrClosed
		}
		n, no := recv(l.fd, p)
		switch {
		case no == syscall.EAGAIN:
			return 0, nil
		case no == syscall.EINTR:
		case no != 0:
			return 0, no
		case n == 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

// Await implements ring.Pollable.
func (l *rawLink) Await() error {
	if l.ahead.Load() {
		return nil
	}
	if err := l.readable.wait(); err != nil {
		return l.explain(err)
	}
	return nil
}

// explain names the other end, and net.ErrClosed where Close is the reason.
func (l *rawLink) explain(err error) error {
	if l.closed.Load() {
		err = net.ErrClosed
	}
	return fmt.Errorf("tcp: %s at %v: %w", l.peer, l.addr, err)
}

// Close does what that of link does.
func (l *rawLink) Close() error {
	l.once.Do(func() {
		l.closed.Store(true)
		l.readable.kick(past)
		l.writable.kick(past)
		syscall.Shutdown(l.fd, syscall.SHUT_WR)
		if !l.background(l.linger) {
			l.settle()
			l.release()
		}
	})
	return nil
}

// settle waits until nobody uses the descriptor; see Close.
func (l *rawLink) settle() {
	l.writing.Lock()
	l.reading.Lock()
}

func (l *rawLink) linger() {
	l.settle()
	defer l.release()
	l.readable.keep(time.Now().Add(l.patience))
	for {
		switch n, no := recv(l.fd, l.room[:]); {
		case no == syscall.EAGAIN:
			if l.readable.sleep() != nil {
				return
			}
		case no == syscall.EINTR:
		case no != 0 || n == 0:
			return
		}
	}
}

func (l *rawLink) release() {
	l.readable.close()
	l.writable.close()
	syscall.Close(l.fd)
	l.reading.Unlock()
	l.writing.Unlock()
}
