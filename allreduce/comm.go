// Package allreduce combines the vectors of all peers of a ring, and moves
// bytes between them.
//
//	c := allreduce.New(r, allreduce.Config{})
//	defer c.Close()
//	err := c.AllReduce(ctx, allreduce.Of(gradients), allreduce.Mean)
//
// Every peer must call the same collectives in the same order; where they do
// not, all of them get ErrMismatch, which says who wanted what. Several
// collectives may be in progress:
//
//	w1 := c.Start(allreduce.Of(x), allreduce.Sum)
//	w2 := c.Start(allreduce.Of(y), allreduce.Sum)
//	err := errors.Join(w1.Wait(ctx), w2.Wait(ctx))
//
// Where all peers end with the same vector they hold equal bits, whatever the
// transport, the number of lanes and the size of the frames; with a lossy codec
// too.
//
// Lanes lead to the next peer, so everything is passed on from peer to peer;
// where the ring has chords, small vectors take those. For a vector of S bytes,
// or parts or blocks of S bytes together, and n peers:
//
//	                            steps     bytes that a peer sends
//	AllReduce, Ring             2(n-1)    2(n-1)/n S
//	AllReduce, Exchange         n-1       (n-1)S
//	AllReduce, Dissemination    log2 n    (n-1)S
//	AllReduce, TwoLevel                   2(g-1)/g S from each of g hosts
//	ReduceScatter, AllGather    n-1       (n-1)/n S
//	Broadcast, Reduce           n-1       S, but for the last one
//	Scatter, GatherTo           n-1       (n-1)/n S next to the root, less further on
//	AllToAll                    n-1       (n-1)/2 S
//	Gather                      n-1       all blobs but the next peer's
//	Send, Recv                  n         S, if it is between them
//	Barrier                     n-1       empty frames; with chords log2 n
//
// Where peers share the memory of a host AllReduce, ReduceScatter, AllGather and
// Broadcast send nothing, unless there is a codec: see board.go.
//
// Steps overlap: a frame goes on the moment it is merged, so a long vector takes
// the time of its bytes, and the steps only that of their frames.
package allreduce

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringrun/ringrun/ring"
)

// Config holds what may be chosen. It must be alike on all peers.
type Config struct {
	// Codec writes the vectors of what reduces, and if it loses nothing those
	// of AllGather; nil is Raw. Everything else is sent as it is.
	Codec Codec
	// InFlightBytes bounds the vectors on which collectives work at the same
	// time; further ones wait. One alone may be larger. It also bounds what is
	// buffered for collectives that a faster peer has started and this one has
	// not. Default 64 MiB.
	InFlightBytes int
	// SmallBytes is the largest vector that more than two peers all-reduce by
	// sending all vectors whole, as long as Tune has not measured when that pays:
	// it saves steps, and sends (n-1)(1-2/n) times the vector more, which pays
	// while the vector takes less time on a link than a step does: 6 KB at 1 Gbit/s
	// and 50 µs. Default 0: every peer sends 2(n-1)/n of the vector. The bits are
	// the same.
	SmallBytes int
	// Trace hears of what this peer does; it may differ. Default: none.
	Trace *Trace
}

// Comm runs collectives over one ring, and dies with it.
type Comm struct {
	ring    *ring.Ring
	config  Config
	codec   Codec
	limit   int // Config.InFlightBytes
	small   int // Config.SmallBytes, -1 if that is 0
	rank    int
	size    int
	peers   []string
	lanes   []*lane // those of the ring, then its chords, or its short one
	width   int     // how many there are without those
	board   *board  // nil where peers do not share memory
	buffers buffers
	stats   counters
	trace   *Trace // nil: nobody looks

	parent   *Comm         // of which this is a group, or nil
	root     *Comm         // the parent's parent, and so on
	grouping chan struct{} // capacity 1: of the root, held while a group is made
	groups   int           // of the root: number of the last group; guarded by grouping
	making   atomic.Int32  // 1 while this peer makes a group, of this Comm or of a group of it

	running  sync.WaitGroup // all goroutines that touch vectors
	disputed chan struct{}  // closed when this peer has found a mismatch
	ended    chan struct{}  // closed when all goroutines have ended and all works are done

	mu       sync.Mutex
	err      error            // why the Comm is of no more use
	over     bool             // no goroutine may be started any more
	next     uint32           // number of the next collective to be started
	launched uint32           // number of the next one to be launched
	levels   *levels          // nil: peers are all on one host, or none
	costs    *Costs           // by which algorithms are chosen; nil: by size alone
	waiting  []*Work          // started, not launched
	works    map[uint32]*Work // launched, not done
	helped   bool             // whoever launches works now sends on lane 0 itself
	flight   int              // bytes of works
	letters  map[letterKey]*Work
	granted  map[letterKey]ring.Header // for messages that are not sent here yet
	sent     []uint32                  // number of the next message, by the rank that it goes to
	expected []uint32                  // likewise, by the rank that it comes from
	accuser  int                       // lowest rank known to have found a mismatch, or size
	claim    string                    // what this peer found
	members  map[*Comm]bool            // groups that are not closed
}

// New returns a Comm over r, which it owns from now on: Close closes it.
func New(r *ring.Ring, cfg Config) *Comm {
	c := &Comm{
		ring:     r,
		config:   cfg,
		codec:    cfg.Codec,
		trace:    cfg.Trace,
		limit:    cfg.InFlightBytes,
		small:    cfg.SmallBytes,
		rank:     r.Rank(),
		size:     r.Size(),
		peers:    r.Peers(),
		grouping: make(chan struct{}, 1),
		disputed: make(chan struct{}),
		ended:    make(chan struct{}),
		works:    make(map[uint32]*Work),
		letters:  make(map[letterKey]*Work),
		granted:  make(map[letterKey]ring.Header),
		sent:     make([]uint32, r.Size()),
		expected: make([]uint32, r.Size()),
		accuser:  r.Size(),
	}
	c.root = c
	if c.codec == nil {
		c.codec = Raw
	}
	if c.small <= 0 {
		c.small = -1 // not even empty vectors
	}
	if c.limit <= 0 {
		c.limit = 64 << 20
	}
	for _, link := range r.Lanes() {
		c.addLane(link, 1)
	}
	c.width = len(c.lanes)
	for i, link := range r.Chords() {
		c.addLane(link, ring.Strides(c.size)[i])
	}
	if link := r.Short(); link != nil {
		c.addLane(link, 1)
	}
	for _, l := range c.lanes {
		c.running.Go(l.receive)
		c.running.Go(l.send)
	}
	if mem := r.TakeBoard(); mem != nil {
		c.board = newBoard(c, mem)
	}
	go c.supervise()
	return c
}

func (c *Comm) addLane(link *ring.Lane, stride int) {
	c.lanes = append(c.lanes, newLane(c, len(c.lanes), stride, link))
}

// Rank returns this peer's place in the ring.
func (c *Comm) Rank() int { return c.rank }

// Size returns the number of peers.
func (c *Comm) Size() int { return c.size }

// Epoch returns the epoch of the ring.
func (c *Comm) Epoch() uint64 { return c.ring.Epoch() }

// AllReduce replaces x by the combination of the x of all peers. When ctx ends
// early the ring is broken, because no peer can withdraw from a collective alone.
//
// Chunk i of the vector, see ring.Chunk, is combined in the order i+1, i+2, …, i
// by whatever algorithm but TwoLevel, for whose order see levels.go.
func (c *Comm) AllReduce(ctx context.Context, x Vector, op Op) error {
	if err := checkOp("all-reduce", x, op); err != nil {
		return err
	}
	if c.board != nil && c.codecFor(x.typ) == nil {
		if ok, err := c.board.allReduce(ctx, x, op); ok {
			return err
		}
	}
	return c.run(ctx, c.allReduce(x, op))
}

// Start begins an all-reduce of x, which belongs to the Work until it is done.
// It does not wait for anything. Works are numbered in the order of the calls,
// which must be the same on all peers.
func (c *Comm) Start(x Vector, op Op) *Work {
	w, err := c.reduces(x, op)
	if err != nil {
		return c.refuse(err)
	}
	return c.start(w)
}

func (c *Comm) reduces(x Vector, op Op) (*Work, error) {
	if err := checkOp("all-reduce", x, op); err != nil {
		return nil, err
	}
	return c.allReduce(x, op), nil
}

func (c *Comm) allReduce(x Vector, op Op) *Work {
	return &Work{op: op, x: x, codec: c.codecFor(x.typ), bytes: len(x.Bytes())}
}

// codecFor returns what writes elements of the type, nil where they go raw.
func (c *Comm) codecFor(t Type) Codec {
	if c.codec.ID() == Raw.ID() || !c.codec.Supports(t) {
		return nil
	}
	return c.codec
}

// Close says goodbye to the neighbours and ends everything that is in progress,
// here and in groups, with an error. A collective that has ended here is not disturbed elsewhere.
func (c *Comm) Close() error {
	c.note(fmt.Errorf("%w: closed", ring.ErrBroken))
	if c.making.Load() > 0 { // others wait for links to this peer: a goodbye would not end that
		c.ring.Fail(codeFault, "closed while a group was made")
	}
	err := c.ring.Close()
	<-c.ended
	c.closeGroups()
	return err
}

// Done returns a channel that is closed when the ring is broken or closed and
// all works have ended.
func (c *Comm) Done() <-chan struct{} { return c.ended }

// Err returns nil while the Comm works, then why it does not: ErrMismatch, or
// an error that wraps ring.ErrBroken.
func (c *Comm) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// The codes that a Comm gives to ring.Fail.
const (
	codeFault    = 1 + iota // a peer broke the rules of the wire, or went away
	codeMismatch            // the text is that of ErrMismatch
	codeCanceled            // somebody's context ended
)

// note records why the Comm ends. The first reason counts.
func (c *Comm) note(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = err
	}
}

// fail breaks the ring, here with an error that wraps ring.ErrBroken and why.
func (c *Comm) fail(code uint8, why error) {
	text := why.Error()
	if errors.Is(why, ring.ErrBroken) { // the ring's own; peers get the prefix from theirs
		text = strings.TrimPrefix(text, fmt.Sprintf("%v: epoch %d: ", ring.ErrBroken, c.Epoch()))
	} else {
		why = fmt.Errorf("%w: epoch %d: %w", ring.ErrBroken, c.Epoch(), why)
	}
	c.note(explain(why))
	c.ring.Fail(code, text)
}

// explain turns what a peer told the ring back into the error that it had.
func explain(err error) error {
	var abort *ring.AbortError
	if errors.As(err, &abort) && abort.Code == codeMismatch {
		return fmt.Errorf("%w: %s", ErrMismatch, abort.Text)
	}
	return err
}

// supervise waits for the end of the ring and clears up. A Work fails only when
// no goroutine can touch its vector any more.
func (c *Comm) supervise() {
	defer close(c.ended)
	select {
	case <-c.ring.Done():
	case <-c.disputed:
		c.settle()
	}
	c.note(explain(c.ring.Err()))
	c.mu.Lock()
	c.over = true
	for _, l := range c.lanes {
		l.filled.Broadcast()
		l.room.Broadcast()
	}
	levels := c.levels
	if levels != nil {
		levels.filled.Broadcast()
	}
	if c.board != nil {
		c.board.filled.Broadcast()
	}
	c.board.settle()
	c.mu.Unlock()
	c.running.Wait()
	if levels != nil {
		levels.end()
	}
	if c.board != nil {
		c.board.close()
	}

	c.mu.Lock()
	defer c.mu.Unlock()
	for _, w := range c.works {
		w.end(c.err)
	}
	for _, w := range c.waiting {
		w.end(c.err)
	}
	for _, w := range c.letters {
		w.end(c.err)
	}
	c.works, c.waiting, c.letters = nil, nil, nil
}

// settle ends a dispute that this peer has opened, at the latest after a while.
func (c *Comm) settle() {
	patience := time.NewTimer(disputeTime)
	defer patience.Stop()
	select {
	case <-c.ring.Done():
	case <-patience.C:
		c.mu.Lock()
		text := c.claim
		c.mu.Unlock()
		c.condemn(text)
	}
	<-c.ring.Done()
}
