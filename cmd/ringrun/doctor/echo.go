package doctor

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"time"
)

// An echo answers the probes of other hosts at one port, over TCP and UDP:
//
//	dialer                                 echo
//	  | token, kind ------------------------> |   16 bytes, 1 byte
//	  | <------------------ size, host's name |
//	  | 'p': anything ----------------------> |   and back, until the end
//	  | 'b': as much as there is room for --> |   until the end of it
//	  | <----------------- bytes, nanoseconds |
//
//	  | token, number, padding -------------> |   one datagram
//	  | <-------------- token, number, length |
//
// Who does not know the token gets no answer.
type echo struct {
	token Token
	name  string
	tcp   *net.TCPListener
	udp   *net.UDPConn
	wg    sync.WaitGroup

	mu   sync.Mutex
	open map[net.Conn]bool // nil when closed
}

// A Token is known to all who take part in one examination, and to nobody else.
type Token [16]byte

// MarshalText is for JSON.
func (t Token) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, t[:]), nil }

// UnmarshalText is for JSON.
func (t *Token) UnmarshalText(b []byte) error {
	if len(b) != 2*len(t) {
		return fmt.Errorf("doctor: %d characters are no token", len(b))
	}
	_, err := hex.Decode(t[:], b)
	return err
}

func newToken() (t Token) {
	rand.Read(t[:]) // never fails: see its documentation
	return t
}

const (
	pingKind = 'p'
	bulkKind = 'b'

	visitTime = 20 * time.Second // for one connection
)

func listenEcho(host string, token Token, name string) (*echo, error) {
	return listenEchoOn(host, 0, token, name)
}

// listenEchoOn listens at a port that is free for TCP and UDP.
func listenEchoOn(host string, port int, token Token, name string) (*echo, error) {
	var err error
	for range 10 {
		var l net.Listener
		if l, err = net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port))); err != nil {
			return nil, err
		}
		at := l.Addr().(*net.TCPAddr)
		var u *net.UDPConn
		if u, err = net.ListenUDP("udp", &net.UDPAddr{IP: at.IP, Port: at.Port}); err == nil {
			e := &echo{token: token, name: name, tcp: l.(*net.TCPListener), udp: u, open: map[net.Conn]bool{}}
			_ = u.SetReadBuffer(1 << 20) // it works with less
			e.wg.Go(e.accept)
			e.wg.Go(e.receive)
			return e, nil
		}
		defer l.Close() // only now, lest we get the same port again
		if port != 0 {
			break
		}
	}
	return nil, err
}

func (e *echo) Port() int { return e.tcp.Addr().(*net.TCPAddr).Port }

// Close ends all visits and waits for that.
func (e *echo) Close() {
	e.tcp.Close()
	e.udp.Close()
	e.mu.Lock()
	for c := range e.open {
		c.Close()
	}
	e.open = nil
	e.mu.Unlock()
	e.wg.Wait()
}

func (e *echo) accept() {
	for {
		c, err := e.tcp.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			time.Sleep(10 * time.Millisecond) // no file descriptors, say: nothing tells when there are
		case e.enter(c):
			e.wg.Go(func() {
				defer e.leave(c)
				_ = c.SetDeadline(time.Now().Add(visitTime))
				_ = e.serve(c) // the dialer sees what is missing
			})
		default:
			c.Close()
		}
	}
}

// maxVisits bounds what strangers can take.
const maxVisits = 128

func (e *echo) enter(c net.Conn) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.open == nil || len(e.open) >= maxVisits {
		return false
	}
	e.open[c] = true
	return true
}

func (e *echo) leave(c net.Conn) {
	c.Close()
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.open, c)
}

func (e *echo) serve(c net.Conn) error {
	hello := make([]byte, len(e.token)+1)
	if _, err := io.ReadFull(c, hello); err != nil {
		return err
	}
	if subtle.ConstantTimeCompare(hello[:len(e.token)], e.token[:]) != 1 {
		return nil
	}
	name := e.name[:min(len(e.name), 255)]
	if _, err := c.Write(append([]byte{byte(len(name))}, name...)); err != nil {
		return err
	}
	if hello[len(e.token)] == bulkKind {
		return e.swallow(c)
	}
	_, err := io.Copy(c, io.LimitReader(c, 1<<20))
	return err
}

// swallow reads for a moment, and tells how much that was after the first bytes.
func (e *echo) swallow(c net.Conn) error {
	buf := make([]byte, 256<<10)
	if _, err := c.Read(buf); err != nil {
		return err
	}
	begin, total := time.Now(), int64(0)
	_ = c.SetReadDeadline(begin.Add(bulkTime))
	for {
		n, err := c.Read(buf)
		total += int64(n)
		if err != nil {
			break // the end of the moment, or the dialer's
		}
	}
	out := binary.BigEndian.AppendUint64(nil, uint64(total))
	if _, err := c.Write(binary.BigEndian.AppendUint64(out, uint64(time.Since(begin)))); err != nil {
		return err
	}
	_ = c.SetReadDeadline(time.Now().Add(bulkWait))
	_, err := io.Copy(io.Discard, c) // until the dialer has read that
	return err
}

// receive answers datagrams with their length.
func (e *echo) receive() {
	buf := make([]byte, 64<<10)
	for {
		n, from, err := e.udp.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		head := len(e.token) + 4
		if err != nil || n < head || subtle.ConstantTimeCompare(buf[:len(e.token)], e.token[:]) != 1 {
			continue
		}
		answer := binary.BigEndian.AppendUint32(buf[:head:head], uint32(n))
		_, _ = e.udp.WriteToUDPAddrPort(answer, from) // lost: asked again
	}
}
