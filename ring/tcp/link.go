package tcp

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringrun/ringrun/ring"
)

const (
	// readBytes is the size of the read buffer: enough for headers and small
	// frames, little enough that most of a large body goes past it.
	readBytes = 4 << 10
	// lingerTime is how long a closed link waits for the other end to close.
	lingerTime = time.Second
)

// A link is a ring.Link over one connection.
type link struct {
	conn       net.Conn // perhaps TLS
	wire       net.Conn // what is beneath
	background func(func()) bool
	peer       string
	once       sync.Once
	closed     atomic.Bool

	head []byte      // of Send: the encoded header
	both [2][]byte   // header and body
	vec  net.Buffers // over both

	reading sync.Mutex // held while somebody reads: Close must read what is left
	in      *bufio.Reader
	rest    int // bytes of the body not yet read
}

// newLink makes a link of a connection whose handshake is done, with TLS if
// there is a seal.
func (t *Transport) newLink(conn net.Conn, s *seal, e ring.Edge) ring.Link {
	if c, ok := conn.(*net.TCPConn); ok {
		c.SetNoDelay(true)
		tune(c)
		if l := t.direct(c, s, e); l != nil {
			return l
		}
	}
	l := newPlain(conn, e, t.lobby.Background)
	if s != nil {
		l.conn = s
		l.in.Reset(s)
	}
	return l
}

// newPlain makes a link of any connection. What it runs in the background must
// end within a second or so.
func newPlain(conn net.Conn, e ring.Edge, background func(func()) bool) *link {
	return &link{conn: conn, wire: conn, background: background, peer: e.Peer, in: bufio.NewReaderSize(conn, readBytes)}
}

func (l *link) Send(h ring.Header, body []byte) error {
	l.head = h.AppendTo(l.head[:0])
	l.both = [2][]byte{l.head, body}
	l.vec = l.both[:]
	sending()
	_, err := l.vec.WriteTo(l.conn)
	l.both[1] = nil
	return l.explain(err)
}

func (l *link) Next() (ring.Header, error) {
	l.reading.Lock()
	defer l.reading.Unlock()
	if l.closed.Load() {
		return ring.Header{}, l.explain(net.ErrClosed)
	}
	n, err := l.in.Discard(l.rest)
	if l.rest -= n; err != nil {
		return ring.Header{}, l.explain(err)
	}
	b, err := l.in.Peek(ring.HeaderBytes)
	if err != nil {
		return ring.Header{}, l.explain(err)
	}
	received()
	h, err := ring.ParseHeader(b)
	if err != nil {
		return ring.Header{}, l.explain(err)
	}
	l.in.Discard(ring.HeaderBytes)
	l.rest = int(h.Length)
	return h, nil
}

func (l *link) Read(p []byte) (int, error) {
	l.reading.Lock()
	defer l.reading.Unlock()
	if l.closed.Load() {
		return 0, l.explain(net.ErrClosed)
	}
	if l.rest == 0 {
		return 0, io.EOF
	}
	n, err := l.in.Read(p[:min(len(p), l.rest)])
	l.rest -= n
	return n, l.explain(err)
}

// explain names the other end, and net.ErrClosed where Close is the reason. The
// connection's own end is never a clean io.EOF: a peer says Bye first.
func (l *link) explain(err error) error {
	if err == nil {
		return nil
	}
	if l.closed.Load() {
		err = net.ErrClosed
	} else if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("tcp: %s at %v: %w", l.peer, l.conn.RemoteAddr(), err)
}

// Close ends the sending half in order, so that everything sent before arrives.
// A connection closed with something left to read would be reset instead, and
// the peer could lose our last words; so that is read in the background, until
// the peer closes its end too.
func (l *link) Close() error {
	l.once.Do(func() {
		l.closed.Store(true)
		l.wire.SetDeadline(past)
		c, ok := l.wire.(interface{ CloseWrite() error })
		if !ok || c.CloseWrite() != nil || !l.background(l.linger) {
			l.wire.Close()
		}
	})
	return nil
}

func (l *link) linger() {
	defer l.wire.Close()
	l.reading.Lock()
	defer l.reading.Unlock()
	l.wire.SetReadDeadline(time.Now().Add(lingerTime))
	io.Copy(io.Discard, l.wire)
}
