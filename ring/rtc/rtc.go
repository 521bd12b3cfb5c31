// Package rtc carries the links of a ring over WebRTC data channels, for peers
// that cannot reach each other by TCP: behind NATs, with STUN and TURN.
//
// New makes the transport of a peer. Every link is a PeerConnection of its own,
// and so has an SCTP association and a congestion window of its own; several
// lanes are several connections between the same two peers.
//
// Offers and answers travel through a Signaler, which must be authentic: the
// descriptions hold the fingerprints of the certificates, and a link opens only
// if DTLS shows the very certificate that the description announced.
package rtc

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"sync"
	"time"

	"github.com/pion/webrtc/v3"
	"go.uber.org/zap"

	"github.com/ringrun/ringrun/ring"
)

// A Signaler carries small messages between peers before there is a link.
type Signaler interface {
	// Send delivers data to a peer. It may lose data only if it returns an error.
	Send(ctx context.Context, to string, data []byte) error
	// Receive waits for the next message to this peer. Nobody can forge from.
	Receive(ctx context.Context) (from string, data []byte, err error)
}

// Config configures a Transport.
type Config struct {
	ID     string   // this peer; required
	Signal Signaler // the transport receives all that arrives there; required

	// Servers are the STUN and TURN servers to ask. Without any, peers must
	// reach each other's own addresses.
	Servers []webrtc.ICEServer
	// Gather is how long to wait for the answers of the servers before an
	// offer or answer leaves without them. Default: 1 s.
	Gather time.Duration
	// Loopback offers loopback addresses too, for peers on one machine.
	Loopback bool
	// RelayOnly offers nothing but addresses on TURN servers.
	RelayOnly bool

	Lanes  int         // Limits().Lanes; default 4
	Logger *zap.Logger // default: none
}

const (
	// messageBytes is the longest message that any implementation of data
	// channels must take: one more would be 64 KiB.
	messageBytes = 64<<10 - 1
	// frameBytes is the largest body, a multiple of every element size.
	frameBytes = (messageBytes - ring.HeaderBytes) &^ 7
)

func (c Config) validate() (Config, error) {
	if c.ID == "" || len(c.ID) > maxID {
		return c, fmt.Errorf("rtc: ID of %d bytes, want 1 to %d", len(c.ID), maxID)
	}
	if c.Signal == nil {
		return c, errors.New("rtc: no Signaler")
	}
	if c.Lanes < 0 || c.Lanes > maxLanes {
		return c, fmt.Errorf("rtc: %d lanes, want 1 to %d", c.Lanes, maxLanes)
	}
	if c.Lanes == 0 {
		c.Lanes = 4
	}
	if c.Gather <= 0 {
		c.Gather = time.Second
	}
	if c.Logger == nil {
		c.Logger = zap.NewNop()
	}
	return c, nil
}

// A Transport opens links over data channels. It implements ring.Transport.
type Transport struct {
	cfg    Config
	mail   *mailbox
	notes  chan note          // what receive and Dial have to say without waiting
	cancel context.CancelFunc // ends receive and post
	loops  sync.WaitGroup     // receive and post
	linger time.Duration

	mu      sync.Mutex
	closed  error                      // not nil after Close, or when the Signaler failed
	calls   map[*call]struct{}         // Dial and Accept that are running
	closing map[chan struct{}]struct{} // connections that are being closed; a channel closes when one is
}

// call is a running Dial or Accept.
type call struct {
	cancel context.CancelCauseFunc
	done   chan struct{}
}

// New returns the transport of peer cfg.ID, which receives signals from now on.
func New(cfg Config) (*Transport, error) {
	cfg, err := cfg.validate()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	t := &Transport{
		cfg:     cfg,
		mail:    newMailbox(),
		notes:   make(chan note, 64), // a burst from all lanes of both neighbours
		cancel:  cancel,
		linger:  linger,
		calls:   make(map[*call]struct{}),
		closing: make(map[chan struct{}]struct{}),
	}
	t.loops.Go(func() { t.receive(ctx) })
	t.loops.Go(func() { t.post(ctx) })
	return t, nil
}

// Limits implements ring.Transport.
func (t *Transport) Limits() ring.Limits {
	return ring.Limits{FrameBytes: frameBytes, Lanes: t.cfg.Lanes}
}

// Close ends all pending calls and waits until the links that were closed
// before have delivered what they can. Open links are not touched.
func (t *Transport) Close() error {
	for c := range t.stop(fmt.Errorf("rtc: transport: %w", net.ErrClosed)) {
		<-c.done
	}
	t.cancel()
	t.loops.Wait()
	t.mu.Lock()
	closing := maps.Clone(t.closing)
	t.mu.Unlock()
	for done := range closing {
		<-done
	}
	return nil
}

// stop fails running and later calls with err, and returns the running ones.
func (t *Transport) stop(err error) map[*call]struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed == nil {
		t.closed = err
	}
	for c := range t.calls {
		c.cancel(err)
	}
	return maps.Clone(t.calls)
}

// begin registers a Dial or Accept of edge e. The context that it returns ends
// with ctx, and with the transport; then context.Cause says why. The caller must
// call end.
func (t *Transport) begin(ctx context.Context, e ring.Edge) (_ context.Context, end func(), err error) {
	switch {
	case e.Self != t.cfg.ID:
		return nil, nil, fmt.Errorf("rtc: edge of %q, but this is %q", e.Self, t.cfg.ID)
	case e.Peer == e.Self || e.Peer == "" || len(e.Peer) > maxID:
		return nil, nil, fmt.Errorf("rtc: no link from %q to %q", e.Self, e.Peer)
	case e.Lane < 0 || e.Lane >= maxLane:
		return nil, nil, fmt.Errorf("rtc: lane %d, want 0 to %d", e.Lane, maxLane-1)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed != nil {
		return nil, nil, t.closed
	}
	ctx, cancel := context.WithCancelCause(ctx)
	c := &call{cancel, make(chan struct{})}
	t.calls[c] = struct{}{}
	return ctx, func() {
		cancel(nil)
		t.mu.Lock()
		delete(t.calls, c)
		t.mu.Unlock()
		close(c.done)
	}, nil
}

// retire runs shut, which closes a connection, without making the caller wait
// for it. Close waits for it.
func (t *Transport) retire(shut func()) {
	done := make(chan struct{})
	t.mu.Lock()
	t.closing[done] = struct{}{}
	t.mu.Unlock()
	go func() {
		shut()
		t.mu.Lock()
		delete(t.closing, done)
		t.mu.Unlock()
		close(done)
	}()
}
