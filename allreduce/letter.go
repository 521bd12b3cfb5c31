package allreduce

import (
	"context"
	"fmt"
	"io"

	"github.com/ringrun/ringrun/ring"
)

// Messages go from one peer to any other, down the ring. They are no
// collectives: only the two take part, the peers between pass frames on without
// a call of their own. The k-th Send to a peer meets the k-th Recv from this
// one there.
//
// Nothing is sent that is not awaited. The receiver grants bytes, and its grant
// runs down the rest of the ring to the sender; so a peer between the two
// never holds more than windowBytes of a message.
//
//	 Op       Root                 Seq      Count, Type   Offset
//	 grant    from | to<<16        number   as awaited    bytes that may be sent, from the first
//	 message  from | to<<16        number   as sent       of the body, in bytes
//
// "from" and "to" are those of the message, in its grants as well.

// windowBytes is how much more of a message is granted than has arrived.
const windowBytes = 1 << 20

type letterKey struct {
	from, to int
	seq      uint32
}

// A letter is one end of a message. The Comm's lock guards it.
type letter struct {
	key     letterKey
	sends   bool
	bytes   int // in the whole vector
	moved   int // bytes that are queued or here
	allowed int // bytes that are granted; -1: none yet, not even the first frame
}

// Send sends x to the peer of rank to, which must call Recv with a vector of the
// same type and length. The peers between must not have closed. That the other one
// has, without its part of the message, only the peer behind it learns by itself:
// ctx should have a deadline.
//
// It takes one round of the ring: a grant from the receiver to here and the
// frames from here to the receiver, size steps together. Each peer on the way
// sends x once. Of what is longer than 1 MiB the rest follows as it is granted,
// so a long ring with slow links carries at most 1 MiB per round. It returns when
// the last frame is on its way. It is never encoded.
func (c *Comm) Send(ctx context.Context, x Vector, to int) error {
	return c.StartSend(x, to).Wait(ctx)
}

// StartSend begins what Send does. It does not wait for anything; x belongs to
// the Work until that is done.
func (c *Comm) StartSend(x Vector, to int) *Work {
	return c.startLetter("send to", x, letterKey{from: c.rank, to: to}, to)
}

// Recv fills x with what the peer of rank from sends here; see Send.
func (c *Comm) Recv(ctx context.Context, x Vector, from int) error {
	return c.StartRecv(x, from).Wait(ctx)
}

// StartRecv begins what Recv does. It does not wait for anything; x belongs to
// the Work until that is done.
func (c *Comm) StartRecv(x Vector, from int) *Work {
	return c.startLetter("receive from", x, letterKey{from: from, to: c.rank}, from)
}

func (c *Comm) startLetter(call string, x Vector, k letterKey, peer int) *Work {
	err := c.checkRank(call, peer)
	if err == nil && peer == c.rank {
		err = fmt.Errorf("%w: %s rank %d, which is this one", ErrRank, call, peer)
	}
	if err == nil {
		err = checkType(call, x)
	}
	if err != nil {
		return c.refuse(err)
	}
	w := &Work{c: c, kind: message, x: x, done: make(chan struct{}), pending: 1}
	w.note = &letter{key: k, sends: k.from == c.rank, bytes: len(x.Bytes()), allowed: -1}
	c.post(w)
	return w
}

// post numbers a letter and begins it.
func (c *Comm) post(w *Work) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		w.end(c.err)
		return
	}
	n, l := w.note, c.lanes[0]
	count := &c.expected[n.key.from]
	if n.sends {
		count = &c.sent[n.key.to]
	}
	n.key.seq = *count
	*count++
	c.letters[n.key] = w
	if n.sends {
		if h, ok := c.granted[n.key]; ok {
			delete(c.granted, n.key)
			c.useGrant(w, h)
		}
	} else {
		c.grant(w)
	}
	l.rouseIfIdle()
	l.room.Broadcast() // frames that are held back may be before this message's
	if gone := l.gone; gone != nil && n.awaits() && !c.over {
		c.running.Go(func() { c.fail(codeFault, gone) })
	}
}

// awaits reports whether something must arrive for the letter to get on.
func (n *letter) awaits() bool { return !n.sends || n.allowed < n.bytes }

func (n *letter) name(c *Comm) string {
	return fmt.Sprintf("message %d from %s to %s", n.key.seq, c.peers[n.key.from], c.peers[n.key.to])
}

// letterHeader is that of a frame about the letter.
func (w *Work) letterHeader(op Op, offset int) *ring.Header {
	k := w.note.key
	return &ring.Header{
		Op: uint8(op), Type: uint8(w.x.typ), Seq: k.seq, Count: uint64(w.x.len), Offset: uint64(offset),
		Root: uint32(k.from) | uint32(k.to)<<16,
	}
}

// grant allows the sender to send more, when half of what was granted is here.
// It is called with c.mu held.
func (c *Comm) grant(w *Work) {
	n := w.note
	if n.allowed >= 0 && (n.allowed == n.bytes || n.allowed-n.moved > windowBytes/2) {
		return
	}
	n.allowed = min(n.bytes, n.moved+windowBytes)
	c.lanes[0].push(segment{header: w.letterHeader(grant, n.allowed)})
}

// useGrant queues what a grant allows. It is called with c.mu held.
func (c *Comm) useGrant(w *Work, h ring.Header) {
	n := w.note
	if h.Count != uint64(w.x.len) || Type(h.Type) != w.x.typ {
		c.object(fmt.Sprintf("%s, epoch %d: %s sends %d %v, %s wants %d %v", n.name(c), c.ring.Epoch(),
			c.peers[n.key.from], w.x.len, w.x.typ, c.peers[n.key.to], h.Count, Type(h.Type)))
		return
	}
	empty := n.allowed < 0 && n.bytes == 0 // one frame says so, whatever is granted after that
	n.allowed = max(n.allowed, int(min(h.Offset, uint64(n.bytes))))
	for ; n.moved < n.allowed || empty; empty = false {
		body := w.x.Bytes()[n.moved:min(n.allowed, n.moved+c.ring.FrameBytes())]
		s := segment{work: w, header: w.letterHeader(message, n.moved), body: body}
		n.moved += len(body)
		s.last = n.moved == n.bytes
		c.lanes[0].push(s)
	}
}

// carry deals with a frame of a message: it takes it in, or passes it on.
func (l *lane) carry(h ring.Header) error {
	c := l.c
	k := letterKey{from: int(h.Root & 0xffff), to: int(h.Root >> 16), seq: h.Seq}
	end := k.to
	if Op(h.Op) == grant {
		end = k.from
	}
	other := k.from + k.to - end
	if k.from >= c.size || k.to >= c.size || other == c.rank || k.from == k.to || l.index > 0 || h.Codec != 0 ||
		Op(h.Op) == grant && h.Length > 0 {
		return fmt.Errorf("frame of a message from rank %d to %d, of %d bytes", k.from, k.to, h.Length)
	}
	switch {
	case end != c.rank:
		return l.passOn(h)
	case Op(h.Op) == grant:
		return c.hearGrant(k, h)
	}
	return l.receiveLetter(k, h)
}

// passOn sends a frame on.
func (l *lane) passOn(h ring.Header) error {
	s := segment{header: &h}
	if h.Length > 0 {
		s.body, s.pooled = l.c.buffers.get(int(h.Length)), true
		if _, err := io.ReadFull(l, s.body); err != nil {
			return err
		}
	}
	l.forward(s)
	return nil
}

// hearGrant notes a grant, or keeps it until the message is sent here. What is
// kept is no more than the others have asked for.
func (c *Comm) hearGrant(k letterKey, h ring.Header) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.accuser < c.size {
		return nil
	}
	if w := c.letters[k]; w != nil {
		c.useGrant(w, h)
	} else if int32(k.seq-c.sent[k.to]) < 0 {
		return fmt.Errorf("grant for a message to rank %d that has been sent", k.to)
	} else {
		c.granted[k] = h
	}
	return nil
}

// receiveLetter takes in a frame of a message to this peer.
func (l *lane) receiveLetter(k letterKey, h ring.Header) error {
	c := l.c
	c.mu.Lock()
	w, disputed := c.letters[k], c.accuser < c.size
	var at, allowed int
	if w != nil {
		at, allowed = w.note.moved, w.note.allowed
	}
	c.mu.Unlock()
	if disputed {
		return nil
	}
	if w == nil || h.Count != uint64(w.x.len) || Type(h.Type) != w.x.typ || h.Offset != uint64(at) ||
		int(h.Length) > allowed-at || h.Length == 0 && w.note.bytes > 0 {
		return fmt.Errorf("message from rank %d: %d bytes at %d, want some at %d of %d", k.from, h.Length, h.Offset, at, allowed)
	}
	if _, err := io.ReadFull(l, w.x.Bytes()[at:at+int(h.Length)]); err != nil {
		return err
	}
	c.mu.Lock()
	w.note.moved += int(h.Length)
	whole := w.note.moved == w.note.bytes
	if !whole {
		c.grant(w)
	}
	c.mu.Unlock()
	if whole {
		c.finished(w)
	}
	return nil
}
