package ring

import "context"

// An Edge names one link as one of its two ends sees it.
type Edge struct {
	Self  string // this peer
	Peer  string // the peer at the other end
	Epoch uint64
	Lane  int
}

// A Link carries frames to and from one neighbour, reliably and in order.
//
// One goroutine at a time may send, and one at a time may receive; the two
// directions are independent. After an error from any method the link is of no
// more use.
type Link interface {
	// Send transmits one frame; h.Length is len(body). It blocks while the
	// window is full, and keeps neither h nor body.
	Send(h Header, body []byte) error
	// Next waits for the next frame and returns its header. What is left of
	// the body of the frame before is skipped.
	Next() (Header, error)
	// Read reads from the body of the frame that Next announced, as an
	// io.Reader does: it returns what is there, at least one byte, and io.EOF
	// at the end of the body. Each return shows that the neighbour is alive.
	Read(p []byte) (int, error)
	// Close makes Send, Next and Read, running or later, return an error that
	// wraps net.ErrClosed. It does not wait for the neighbour. What Send has
	// taken before is still delivered if the transport can.
	Close() error
}

// A Pollable is a link that one goroutine can work in both directions without
// ever waiting: while frames follow each other closely that is faster than
// goroutines that wake each other. A link may be one or not; its Send, Next and
// Read work in any case, between frames.
type Pollable interface {
	Link
	// Poll is Next that does not wait. It returns false if no header is here.
	Poll() (Header, bool, error)
	// TryRead is Read that does not wait. It returns 0 and no error if nothing
	// is here.
	TryRead(p []byte) (int, error)
	// Await waits until Poll or TryRead has something to return. It reads
	// nothing, so that others may poll meanwhile, and it may return too early.
	Await() error
	// Begin is the start of Send. Nothing is sent before Push, and body is kept
	// until Push has returned true or an error.
	Begin(h Header, body []byte)
	// Push sends of the frame that was begun what the window takes, or if wait
	// is set, all of it. It reports whether that was the rest of the frame.
	Push(wait bool) (done bool, err error)
}

// Limits says what a transport is good at.
type Limits struct {
	FrameBytes int // largest body worth sending in one frame, at most MaxBody
	Lanes      int // how many lanes fill a connection between two peers
	// Short asks for a lane of its own for small frames where that saves work;
	// see Ring.Short.
	Short bool
}

// A Transport opens links. It lives as long as its peer, across epochs.
type Transport interface {
	// Dial opens a link to e.Peer, which must be accepting the same edge, or
	// will be before ctx ends. It does not return before the peer has accepted:
	// from then on either end expects the other one to show that it lives.
	Dial(ctx context.Context, e Edge) (Link, error)
	// Accept waits for the link that e.Peer, and nobody else, dials.
	Accept(ctx context.Context, e Edge) (Link, error)
	// Limits returns what never changes during the life of the transport.
	Limits() Limits
	// Close ends all pending calls; links already open are not touched.
	Close() error
}
