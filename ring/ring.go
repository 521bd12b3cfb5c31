// Package ring arranges the peers of one epoch in a ring and carries frames
// between neighbours.
//
// Open dials the next peer and accepts the previous one, on every lane. A ring
// works until anything goes wrong: then it is broken, tells every peer why, and
// is never repaired. The next epoch opens a new one.
//
//	r, err := ring.Open(ctx, ring.Config{Self: "a", Peers: []string{"a", "b"}, Epoch: 1, Transport: t})
//	…
//	lane := r.Lanes()[0]
//	err = lane.Send(ring.Header{Seq: 1}, segment) // to the next peer
//	h, err := lane.Next()                         // from the previous one
//	_, err = io.ReadFull(lane, buf[:h.Length])
package ring

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// ErrBroken reports that a ring lost a link, or was closed.
var ErrBroken = errors.New("ring: broken")

// Config says who is in the ring and how links are opened.
type Config struct {
	Self      string   // this peer
	Peers     []string // all peers, in rank order
	Epoch     uint64
	Transport Transport     // not needed by a ring of one
	Lanes     int           // alike on all peers; default: what the transport says
	Chords    bool          // alike on all peers; see Ring.Chords
	Silence   time.Duration // a link that is silent for so long is broken; default 1 s
	Pulse     Pulse         // what heartbeats tell; default: nothing
}

func (c Config) validate() error {
	if !slices.Contains(c.Peers, c.Self) {
		return fmt.Errorf("ring: %q is not among the %d peers", c.Self, len(c.Peers))
	}
	sorted := slices.Sorted(slices.Values(c.Peers))
	if len(slices.Compact(sorted)) != len(c.Peers) {
		return fmt.Errorf("ring: a peer is there twice in %q", c.Peers)
	}
	if c.Lanes < 0 || c.Lanes > maxLanes {
		return fmt.Errorf("ring: %d lanes, want 1 to %d", c.Lanes, maxLanes)
	}
	if c.Silence < 0 || c.Silence > 0 && c.Silence < time.Millisecond {
		return fmt.Errorf("ring: silence of %v, want at least 1ms", c.Silence)
	}
	if c.Transport == nil && len(c.Peers) > 1 {
		return errors.New("ring: no transport")
	}
	return nil
}

const maxLanes = 64

// Ring is this peer's place in one epoch, between two neighbours.
type Ring struct {
	peers      []string
	rank       int
	epoch      uint64
	silence    time.Duration
	pulse      Pulse
	frameBytes int
	lanes      []*Lane
	chords     []*Lane
	transport  Transport
	seats      int           // number of the first lane of the ring's links
	parent     *Ring         // of a ring of a group
	short      *Lane         // nil if there is none
	done       chan struct{} // closed by shut
	running    sync.WaitGroup

	mu     sync.Mutex
	err    error          // why done is closed
	ends   []*end         // those whose link is open
	groups map[*Ring]bool // that are open, or being opened
	board  Board          // nil: none, or taken
}

// Open opens the ring of one epoch. All its peers must call it; it returns
// when the links to both neighbours are open, or with an error when that fails
// or ctx ends. The error wraps ErrBroken and says which link was missing.
func Open(ctx context.Context, cfg Config) (*Ring, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	r := newRing(cfg)
	if err := r.open(ctx); err != nil {
		return nil, err
	}
	return r, nil
}

func (r *Ring) open(ctx context.Context) error {
	if len(r.lanes) == 0 {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r.running.Go(r.watch)
	r.running.Go(func() { // what breaks the ring ends the calls that would complete it
		select {
		case <-r.done:
			cancel()
		case <-ctx.Done():
		}
	})
	var links sync.WaitGroup
	for _, l := range slices.Concat(r.lanes, r.chords) {
		links.Go(func() { l.next.open(ctx, "dial", r.transport.Dial) })
		links.Go(func() { l.prev.open(ctx, "accept", r.transport.Accept) })
	}
	if s, ok := r.transport.(Sharer); ok {
		links.Go(func() { r.openBoard(ctx, s) })
	}
	switch {
	case r.short == nil:
	case r.rank == 0:
		links.Go(func() { r.short.next.open(ctx, "dial", r.transport.Dial) })
	default:
		links.Go(func() { r.short.prev.open(ctx, "accept", r.transport.Accept) })
	}
	links.Wait()
	if err := r.Err(); err != nil {
		r.Close()
		return err
	}
	return nil
}

func newRing(cfg Config) *Ring {
	r := &Ring{
		peers:      slices.Clone(cfg.Peers),
		rank:       slices.Index(cfg.Peers, cfg.Self),
		epoch:      cfg.Epoch,
		silence:    cfg.Silence,
		pulse:      cfg.Pulse,
		frameBytes: MaxBody,
		transport:  cfg.Transport,
		done:       make(chan struct{}),
	}
	if r.silence == 0 {
		r.silence = time.Second
	}
	size := len(cfg.Peers)
	if size == 1 {
		return r
	}
	limits := cfg.Transport.Limits()
	r.frameBytes = min(limits.FrameBytes, MaxBody)
	lanes := cfg.Lanes
	if lanes == 0 {
		lanes = max(1, limits.Lanes)
	}
	for i := range lanes {
		r.lanes = append(r.lanes, r.lane(1, i))
	}
	if cfg.Chords {
		r.addChords()
	}
	if size == 2 && limits.Short {
		e := newEnd(r, r.peers[1-r.rank], shortSeat)
		r.short = &Lane{next: e, prev: e}
	}
	return r
}

// lane returns a lane to the peer that is stride further on.
func (r *Ring) lane(stride, number int) *Lane {
	size := len(r.peers)
	l := &Lane{
		next: newEnd(r, r.peers[mod(r.rank+stride, size)], number),
		prev: newEnd(r, r.peers[mod(r.rank-stride, size)], number),
	}
	l.next.dialed = true
	return l
}

// Rank returns this peer's place in Peers.
func (r *Ring) Rank() int { return r.rank }

// Size returns the number of peers.
func (r *Ring) Size() int { return len(r.peers) }

// Epoch returns the epoch of the view that the ring was opened for.
func (r *Ring) Epoch() uint64 { return r.epoch }

// Peers returns all peers in rank order.
func (r *Ring) Peers() []string { return slices.Clone(r.peers) }

// FrameBytes returns the largest body that Lane.Send takes.
func (r *Ring) FrameBytes() int { return r.frameBytes }

// Lanes returns the lanes, none in a ring of one. Lane i leads to lane i of
// the next peer.
func (r *Ring) Lanes() []*Lane { return slices.Clone(r.lanes) }

// Short returns the lane for small frames of a ring of two, or nil. Its frames to
// and fro share one link, so that each also acknowledges the one before: that
// saves the transport messages of its own. Where much is sent both ways at the
// same time two links are better.
func (r *Ring) Short() *Lane { return r.short }

// Done returns a channel that is closed when the ring is broken or closed.
func (r *Ring) Done() <-chan struct{} { return r.done }

// Err returns nil while the ring works, and then why it does not. The error
// wraps ErrBroken, and an *AbortError if a peer said why.
func (r *Ring) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// Close says Bye to both neighbours, closes the links, and the rings of groups,
// and waits for the goroutines of the ring. What was sent before is still
// delivered if the transport can. The neighbours do not take it for a failure.
// Only the first Close, or Fail, has an effect on the ring; all wait.
func (r *Ring) Close() error {
	r.shut(fmt.Errorf("%w: closed", ErrBroken), Header{Kind: Bye}, nil)
	r.running.Wait()
	r.forget()
	if b := r.TakeBoard(); b != nil {
		return b.Close()
	}
	return nil
}
