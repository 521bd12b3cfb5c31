package shm

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"

	"github.com/ringrun/ringrun/ring"
	"golang.org/x/sys/unix"
)

// In the ring of a segment every frame begins at a multiple of slotBytes:
//
//	| header | 0 … | body              | 0 … |
//	0        48    64                        next frame
//
// so that bodies are copied line by line, and a header never wraps.
const (
	slotBytes = 64
	// maxStride is how much is copied before the other end is told.
	maxStride = 64 << 10
)

// A link is a ring.Link over two segments.
type link struct {
	conn *net.UnixConn // tells that the other end lives, and carries the bells
	peer string
	out  *segment // ours
	in   *segment // theirs, read-only
	step int      // how much is copied before the other end is told
	life life

	once   sync.Once
	closed atomic.Bool

	sending sync.Mutex // held while somebody sends: Close must not unmap beneath it
	sent    uint64     // bytes put into our ring
	shown   uint64     // those that the other end knows of
	slot    []byte     // the encoded header
	space   waiter     // for the other end to take something
	data    ringer     // of the other end's waiter for data

	reading sync.Mutex
	taken   uint64 // bytes taken from their ring
	told    uint64 // those that the other end knows of
	head    []byte // a copy of the header: the other end could change the original while we look
	rest    int    // bytes of the body not yet read
	pad     int    // bytes behind it
	arrival waiter // for the other end to send something
	room    ringer // of the other end's waiter for space
}

// The bells: one byte on the socket each.
var (
	bellData = []byte{'d'} // there is something to read
	bellRoom = []byte{'r'} // something was read
)

// newLink makes a link of a connection and two segments, which it owns.
func newLink(conn *net.UnixConn, e ring.Edge, out, in *segment) *link {
	l := &link{conn: conn, peer: e.Peer, out: out, in: in, slot: make([]byte, slotBytes), head: make([]byte, ring.HeaderBytes)}
	l.step = min(maxStride, len(out.ring)/4, len(in.ring)/4)
	l.life.over = make(chan struct{})
	l.space = newWaiter(&l.life, in.word(wordTaken), out.word(wordFull))
	l.arrival = newWaiter(&l.life, in.word(wordSent), out.word(wordHungry))
	l.data = ringer{word: out.word(wordSent), asleep: in.word(wordHungry)}
	l.room = ringer{word: out.word(wordTaken), asleep: in.word(wordFull)}
	go l.watch() // Close waits for it
	return l
}

// watch hears the bells, and ends when either end is gone: the kernel closes the
// socket of a process that dies.
func (l *link) watch() {
	defer close(l.life.over)
	defer l.life.ended.Store(true)
	var bells [16]byte
	for {
		n, err := l.conn.Read(bells[:])
		if err != nil {
			return
		}
		for _, b := range bells[:n] {
			w := &l.arrival
			if b == bellRoom[0] {
				w = &l.space
			}
			select {
			case w.bell <- struct{}{}:
			default: // it has been rung already
			}
		}
	}
}

// Send implements ring.Link.
func (l *link) Send(h ring.Header, body []byte) error {
	l.sending.Lock()
	defer l.sending.Unlock()
	if l.closed.Load() || l.life.ended.Load() {
		return l.explain(errEnded, unix.EPIPE)
	}
	h.AppendTo(l.slot[:0])
	err := l.put(l.slot)
	if err == nil {
		err = l.put(body)
	}
	if err == nil {
		err = l.put(zeros[:padding(len(body))])
	}
	if err != nil {
		return l.explain(err, unix.EPIPE)
	}
	l.show()
	return nil
}

var zeros [slotBytes]byte

func padding(n int) int { return -n & (slotBytes - 1) }

// put copies bytes into our ring, as there is space.
func (l *link) put(p []byte) error {
	size := uint64(len(l.out.ring))
	for len(p) > 0 {
		step := min(len(p), l.step)
		if l.space.seen+size-l.sent < uint64(step) {
			if err := l.makeRoom(uint64(step)); err != nil {
				return err
			}
		}
		n := copy(l.out.from(l.sent), p[:step])
		l.sent += uint64(n)
		p = p[n:]
		if l.sent-l.shown >= uint64(l.step) {
			l.show()
		}
	}
	return nil
}

// makeRoom waits for space for n bytes.
func (l *link) makeRoom(n uint64) error {
	target := l.sent + n - uint64(len(l.out.ring))
	if ok, err := l.space.look(target, l.shown); ok || err != nil {
		return err
	}
	l.show()
	return l.space.until(target, l.shown)
}

// show tells the other end what is in our ring.
func (l *link) show() {
	sending()
	l.out.word(wordSent).Store(l.sent)
	l.shown = l.sent
	if l.data.wake() {
		l.conn.Write(bellData) // its error is that the link has ended, which the watcher sees
	}
}

// Next implements ring.Link.
func (l *link) Next() (ring.Header, error) {
	l.reading.Lock()
	defer l.reading.Unlock()
	if l.closed.Load() {
		return ring.Header{}, l.explain(errEnded, nil)
	}
	for skip := l.rest + l.pad; skip > 0; {
		if err := l.have(1); err != nil {
			return ring.Header{}, l.explain(err, io.ErrUnexpectedEOF)
		}
		n := min(skip, int(l.arrival.seen-l.taken))
		l.taken += uint64(n)
		skip -= n
	}
	l.rest, l.pad = 0, 0
	if err := l.have(slotBytes); err != nil {
		return ring.Header{}, l.explain(err, io.ErrUnexpectedEOF)
	}
	copy(l.head, l.in.from(l.taken))
	h, err := ring.ParseHeader(l.head)
	if err != nil {
		return ring.Header{}, l.explain(err, nil)
	}
	l.taken += slotBytes
	l.rest, l.pad = int(h.Length), padding(int(h.Length))
	return h, nil
}

// Read implements ring.Link.
func (l *link) Read(p []byte) (int, error) {
	l.reading.Lock()
	defer l.reading.Unlock()
	if l.closed.Load() {
		return 0, l.explain(errEnded, nil)
	}
	if l.rest == 0 {
		return 0, io.EOF
	}
	if len(p) == 0 {
		return 0, nil
	}
	if err := l.have(1); err != nil {
		return 0, l.explain(err, io.ErrUnexpectedEOF)
	}
	n := min(len(p), l.rest, int(l.arrival.seen-l.taken))
	n = copy(p[:n], l.in.from(l.taken))
	l.taken += uint64(n)
	l.rest -= n
	if l.taken-l.told >= uint64(l.step) {
		l.tell()
	}
	return n, nil
}

// have waits until n bytes can be taken. Before it waits it tells the other end
// what was taken, or both could wait for each other.
func (l *link) have(n uint64) error {
	target := l.taken + n
	if l.arrival.seen >= target {
		return nil
	}
	limit := l.taken + uint64(len(l.in.ring))
	if ok, err := l.arrival.look(target, limit); ok || err != nil {
		return err
	}
	l.tell()
	return l.arrival.until(target, limit)
}

// tell tells the other end what we have taken.
func (l *link) tell() {
	if l.told == l.taken {
		return
	}
	l.out.word(wordTaken).Store(l.taken)
	l.told = l.taken
	if l.room.wake() {
		l.conn.Write(bellRoom)
	}
}

// Close implements ring.Link. What was sent before stays in the memory that the
// other end has mapped.
func (l *link) Close() error {
	l.once.Do(func() {
		l.closed.Store(true)
		l.conn.Close() // ends the watcher, which wakes the others
		<-l.life.over
		l.sending.Lock()
		defer l.sending.Unlock()
		l.reading.Lock()
		defer l.reading.Unlock()
		l.out.unmap()
		l.in.unmap()
	})
	return nil
}

// explain names the other end. The end of a link is net.ErrClosed if Close is
// the reason, and otherwise gone.
func (l *link) explain(err, gone error) error {
	if l.closed.Load() {
		err = net.ErrClosed
	} else if errors.Is(err, errEnded) {
		err = gone
	}
	return fmt.Errorf("shm: link to %s: %w", l.peer, err)
}
