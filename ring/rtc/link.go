package rtc

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/ringrun/ringrun/ring"
)

// linger bounds how long a closed link tries to deliver what it had taken.
const linger = 2 * time.Second

// link is a ring.Link over one data channel. A binary message is a frame,
// header and body. A text message is control:
//
//	 0             1                               5
//	+-------------+-------------------------------+
//	| 'C': credit | bytes taken, little-endian    |
//	+-------------+-------------------------------+
//	| 'F': fin    |  no frame comes after this; the sender reads no more
//	+-------------+
type link struct {
	edge  ring.Edge
	conn  *conn
	ch    channel
	in    *queue
	out   *window
	frame []byte // Send's, reused
	body  []byte // what Read has not returned yet
	shut  func() // closes conn, in the background
	once  sync.Once

	linger time.Duration

	ended chan struct{} // closed when the other side has closed, or is lost
	endMu sync.Mutex    // guards the closing of ended
	wg    sync.WaitGroup
}

const (
	controlCredit = 'C'
	controlFin    = 'F'
)

func (t *Transport) newLink(c *conn, ch channel, e ring.Edge) *link {
	l := &link{
		edge:  e,
		conn:  c,
		ch:    ch,
		in:    newQueue(),
		out:   newWindow(flightFor(c.roundTrip()), c.data.BufferedAmount),
		ended: make(chan struct{}),

		linger: t.linger,
	}
	l.shut = func() {
		t.retire(func() {
			l.finish()
			t.shut(c, e)
			l.wg.Wait()
		})
	}
	c.data.SetBufferedAmountLowThreshold(uint64(l.out.limit / 2))
	c.data.OnBufferedAmountLow(l.out.landed)
	if pair, err := c.pc.SCTP().Transport().ICETransport().GetSelectedCandidatePair(); err == nil {
		t.cfg.Logger.Debug("link open", zap.String("peer", e.Peer), zap.Uint64("epoch", e.Epoch), zap.Int("lane", e.Lane),
			zap.Stringer("over", pair), zap.Int("flight", l.out.limit))
	}
	l.wg.Go(l.pump)
	l.wg.Go(l.watch)
	return l
}

// Send implements ring.Link.
func (l *link) Send(h ring.Header, body []byte) error {
	if len(body) > frameBytes {
		return fmt.Errorf("rtc: body of %d bytes, at most %d", len(body), frameBytes)
	}
	if err := l.out.take(ring.HeaderBytes + len(body)); err != nil {
		return err
	}
	l.frame = append(h.AppendTo(l.frame[:0]), body...)
	if _, err := l.ch.WriteDataChannel(l.frame, false); err != nil {
		l.end(fmt.Errorf("send: %w", err))
		return l.out.ended() // which is why
	}
	return nil
}

// Next implements ring.Link.
func (l *link) Next() (ring.Header, error) {
	l.body = nil
	msg, credit, err := l.in.take()
	if err != nil {
		return ring.Header{}, err
	}
	if credit > 0 {
		// If it cannot be sent, the pump learns why.
		_, _ = l.ch.WriteDataChannel(binary.LittleEndian.AppendUint32([]byte{controlCredit}, uint32(credit)), true)
	}
	h, err := ring.ParseHeader(msg)
	if err == nil && int(h.Length) != len(msg)-ring.HeaderBytes {
		err = fmt.Errorf("%w: length %d in a message of %d bytes", ring.ErrFrame, h.Length, len(msg))
	}
	if err != nil {
		return ring.Header{}, l.wrap(err)
	}
	l.body = msg[ring.HeaderBytes:]
	return h, nil
}

// Read implements ring.Link.
func (l *link) Read(p []byte) (int, error) {
	if err := l.in.isClosed(); err != nil {
		return 0, err
	}
	if len(l.body) == 0 {
		return 0, io.EOF
	}
	n := copy(p, l.body)
	l.body = l.body[n:]
	return n, nil
}

// Close implements ring.Link.
func (l *link) Close() error {
	l.once.Do(func() {
		err := l.wrap(net.ErrClosed)
		l.in.close(err)
		l.out.end(err)
		l.shut()
	})
	return nil
}

// finish says fin and waits until it and everything before it has arrived, the
// other side has gone, or patience ends.
func (l *link) finish() {
	arrived := make(chan struct{}, 1)
	l.conn.data.SetBufferedAmountLowThreshold(0)
	l.conn.data.OnBufferedAmountLow(func() {
		select {
		case arrived <- struct{}{}:
		default:
		}
	})
	if _, err := l.ch.WriteDataChannel([]byte{controlFin}, true); err != nil {
		return
	}
	patience := time.NewTimer(l.linger)
	defer patience.Stop()
	for l.conn.data.BufferedAmount() > 0 {
		select {
		case <-arrived:
		case <-l.ended:
			return
		case <-patience.C:
			return
		}
	}
}

// pump reads the channel until it ends, so that control gets through and the
// end is seen while nobody reads frames.
func (l *link) pump() {
	buf := make([]byte, messageBytes+1) // one more, to see what is too long
	for {
		n, text, err := l.ch.ReadDataChannel(buf)
		if err != nil {
			l.end(lost(err))
			return
		}
		if text {
			err = l.control(buf[:n])
		} else if !l.in.put(bytes.Clone(buf[:n])) {
			err = fmt.Errorf("%d bytes more than there was credit for", n)
		}
		if err != nil {
			l.end(err)
		}
	}
}

// lost translates the errors with which a data channel ends.
func lost(err error) error {
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("connection closed by the peer: %w", io.ErrUnexpectedEOF)
	}
	return err
}

// control acts on a control message. Its error ends the link.
func (l *link) control(msg []byte) error {
	switch {
	case len(msg) == 5 && msg[0] == controlCredit:
		n := binary.LittleEndian.Uint32(msg[1:])
		if n > creditBytes || !l.out.give(int(n)) {
			return fmt.Errorf("credit of %d bytes, more than was sent", n)
		}
		return nil
	case len(msg) == 1 && msg[0] == controlFin:
		return fmt.Errorf("closed by the peer: %w", io.EOF)
	}
	return fmt.Errorf("control message %.20q", msg)
}

// watch ends the link when ICE gives it up.
func (l *link) watch() {
	select {
	case <-l.conn.failed:
		l.end(errors.New("connection lost"))
	case <-l.ended:
	}
}

// end lets the frames that have come be read, then err; sending ends at once.
func (l *link) end(err error) {
	err = l.wrap(err)
	l.in.end(err)
	l.out.end(err)
	l.endMu.Lock()
	defer l.endMu.Unlock()
	select {
	case <-l.ended:
	default:
		close(l.ended)
	}
}

func (l *link) wrap(err error) error {
	return fmt.Errorf("rtc: link of %s with %s, epoch %d, lane %d: %w", l.edge.Self, l.edge.Peer, l.edge.Epoch, l.edge.Lane, err)
}
