package allreduce

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/ringrun/ringrun/ring"
)

// ErrMismatch reports that peers disagree about a collective: its kind, length,
// type, operation, codec or root, or the order of collectives. The error names
// two peers and what each of them wanted, and is the same on all peers.
var ErrMismatch = errors.New("allreduce: peers disagree")

// agrees reports whether a frame belongs to the collective that the work is.
// Each peer checks the one before it: if all agree, all want the same.
func (w *Work) agrees(h ring.Header) bool {
	mine := w.header(segment{})
	if w.countsBlobs() {
		mine.Count = h.Count
	}
	return h.Op == mine.Op && h.Type == mine.Type && h.Codec == mine.Codec && h.Count == mine.Count && h.Root == mine.Root
}

// Several peers may find that they disagree, each with another neighbour. To
// have all report the same, each sends what it found round the ring. A peer
// passes on only what comes from a lower rank than all that it has seen. So the
// notice of the lowest rank, and no other, comes back to where it began, and
// that peer breaks the ring with it (Chang and Roberts, "An improved algorithm
// for decentralized extrema-finding", 1979). Should it not come back in time,
// whoever waits breaks the ring with what it knows.

// disputeTime is how long a notice may be on its way.
const disputeTime = time.Second

// dispute is called when a frame of the peer of rank from does not belong to
// the collective that this peer means.
func (c *Comm) dispute(w *Work, h ring.Header, from int) {
	mine := c.peers[c.rank] + " wants " + w.describe(w.header(segment{}))
	theirs := c.peers[from] + " wants " + w.describe(h)
	if h.Seq != w.seq {
		theirs += fmt.Sprintf(" as collective %d", h.Seq)
	}
	if from < c.rank {
		mine, theirs = theirs, mine
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.object(fmt.Sprintf("collective %d of epoch %d: %s, %s", w.seq, c.ring.Epoch(), mine, theirs))
}

// object opens a dispute. It is called with c.mu held.
func (c *Comm) object(text string) {
	if c.rank >= c.accuser {
		return
	}
	c.claim = text[:min(len(text), maxNotice, c.ring.FrameBytes())]
	c.accuse(c.rank, c.claim)
	close(c.disputed)
}

// accuse passes a notice on. It is called with c.mu held.
func (c *Comm) accuse(rank int, text string) {
	c.accuser = rank
	l := c.lanes[0]
	l.urgent = append(l.urgent, segment{work: &Work{kind: notice, root: rank}, body: []byte(text)})
	l.awaken()
	for _, l := range c.lanes {
		l.room.Broadcast()
	}
}

// hear takes in a notice of another peer, or our own that has been all round.
func (c *Comm) hear(h ring.Header, r io.Reader) error {
	if int64(h.Root) >= int64(c.size) || int(h.Length) > min(maxNotice, c.ring.FrameBytes()) {
		return fmt.Errorf("notice of rank %d in %d bytes", h.Root, h.Length)
	}
	b := make([]byte, h.Length)
	if _, err := io.ReadFull(r, b); err != nil {
		return err
	}
	text := strings.ToValidUTF8(string(b), "?")
	if int(h.Root) == c.rank {
		c.condemn(text)
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if int(h.Root) < c.accuser {
		c.accuse(int(h.Root), text)
	}
	return nil
}

// maxNotice is what fits the ring's own last words.
const maxNotice = 4096

// condemn breaks the ring because of a mismatch.
func (c *Comm) condemn(text string) {
	c.note(fmt.Errorf("%w: %s", ErrMismatch, text))
	c.ring.Fail(codeMismatch, text)
}

// describe says what a header of the work's collective, or one like it, means.
func (w *Work) describe(h ring.Header) string {
	kind, op := kindOf(h.Op)
	what, root := fmt.Sprintf("%d %v", h.Count, Type(h.Type)), h.Root&0xffff
	if form := h.Root >> 16; form != 0 {
		what += fmt.Sprintf(" in form %04x", form) // of parts, say
	}
	codec := codecName(h.Codec)
	switch kind {
	case allReduce:
		return fmt.Sprintf("the %v of %s (%s)", op, what, codec)
	case reduceScatter:
		return fmt.Sprintf("a reduce-scatter, the %v of %s (%s)", op, what, codec)
	case reduceTo:
		return fmt.Sprintf("a reduce, the %v of %s (%s) to rank %d", op, what, codec, root)
	case gather, barrier:
		return "a " + kind.String()
	case broadcast, scatter:
		return fmt.Sprintf("a %v of %s from rank %d", kind, what, root)
	case gatherTo:
		return fmt.Sprintf("a gather of %s to rank %d", what, root)
	case allGather:
		return fmt.Sprintf("an all-gather of %s (%s)", what, codec)
	case allToAll:
		return fmt.Sprintf("an all-to-all of %v", Type(h.Type))
	}
	return kind.String()
}

func mod(a, n int) int { return (a%n + n) % n }
