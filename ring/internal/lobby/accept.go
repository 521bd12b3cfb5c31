package lobby

import (
	"context"
	"crypto/hmac"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"

	"github.com/ringrun/ringrun/membership/strangers"
	"github.com/ringrun/ringrun/ring"
)

// StrangerTime is how long a stranger may take to prove that it is none, and
// a dialer that has waited to say that it is still there.
const StrangerTime = 2 * time.Second

// Accept waits for those who dial an edge and have proved who they are, until
// meet succeeds with one. The connection belongs to meet, and its context ends
// after StrangerTime.
func (l *Lobby) Accept(ctx context.Context, e ring.Edge, meet func(context.Context, *Visitor) error) error {
	if e.Self != l.cfg.ID {
		return fmt.Errorf("%s: %q accepts a link in the name of %q", l.cfg.Transport, l.cfg.ID, e.Self)
	}
	ctx, cancel, err := l.within(ctx)
	if err != nil {
		return err
	}
	defer cancel()
	l.enter(e.Epoch)
	s := l.take(e)
	defer l.give(e, s)
	for {
		if ctx.Err() != nil {
			return fmt.Errorf("%s: accept %s: %w", l.cfg.Transport, e.Peer, context.Cause(ctx))
		}
		select {
		case v := <-s.visitors:
			if l.admit(ctx, v, meet) == nil {
				return nil
			}
		case <-ctx.Done():
		}
	}
}

// admit lets meet tell a dialer that has waited that its link is wanted now. One
// that has given up meanwhile does not answer.
func (l *Lobby) admit(ctx context.Context, v *Visitor, meet func(context.Context, *Visitor) error) error {
	defer l.untrack(v.Conn)
	ctx, cancel := context.WithTimeout(ctx, StrangerTime)
	defer cancel()
	return meet(ctx, v)
}

// greet is the handshake up to the proof. It returns the edge that the dialer
// wants, or an error after having told it why not.
func (c *Config) greet(conn net.Conn) (ring.Edge, *Visitor, error) {
	conn.SetDeadline(time.Now().Add(StrangerTime))
	h, said, err := readHello(conn, c.Magic)
	if err != nil {
		return ring.Edge{}, nil, errors.Join(errHello, err)
	}
	own := c.privacy(conn)
	encrypted, ok := agree(own, h.privacy)
	if why := c.objection(h, ok); why != nil {
		refuse(conn, why.toThem)
		return ring.Edge{}, nil, why
	}
	nonce := newNonce()
	answer := append([]byte{byte(own)}, nonce[:]...)
	if err := WriteMessage(conn, challenge, append(answer, c.prove("acceptor", said, answer)...)); err != nil {
		return ring.Edge{}, nil, err
	}
	want := c.prove("dialer", said, answer)
	got, err := ReadMessage(conn, proof, len(want))
	if err != nil {
		return ring.Edge{}, nil, err
	}
	if !hmac.Equal(got, want) {
		why := &objection{"your secret is not the secret of run " + c.Run, fmt.Sprintf("%q has another secret", h.from)}
		refuse(conn, why.toThem)
		return ring.Edge{}, nil, why
	}
	conn.SetDeadline(time.Time{})
	return h.edge(), c.visitor(conn, encrypted, said, answer), nil
}

// An objection is why a dialer is refused.
type objection struct {
	toThem string
	here   string // what is reported here; nothing about peers of our own
}

func (o *objection) Error() string { return o.toThem }

// objection says what is wrong with a hello, if anything is.
func (c *Config) objection(h hello, agreed bool) *objection {
	switch {
	case h.version != version:
		return &objection{
			fmt.Sprintf("you speak version %d of the protocol, this is version %d", h.version, version),
			fmt.Sprintf("somebody speaks version %d of the protocol, this is version %d: use one build everywhere", h.version, version),
		}
	case h.run != c.Run:
		return &objection{
			fmt.Sprintf("you belong to run %q, this is run %q", h.run, c.Run),
			fmt.Sprintf("%q belongs to run %q, this is run %q", h.from, h.run, c.Run),
		}
	case h.to != c.ID:
		return &objection{toThem: fmt.Sprintf("you look for peer %q, this is peer %q", h.to, c.ID)}
	case !agreed:
		return &objection{discord(h.privacy), fmt.Sprintf("%q and this peer differ in TLS", h.from)}
	}
	return nil
}

var errHello = errors.New("no hello")

// blame says what is reported of a handshake that has failed: nothing, if it may
// be a peer that has changed its mind, or if we have closed the connection.
func blame(err error) string {
	var o *objection
	switch {
	case err == nil:
		return ""
	case errors.As(err, &o):
		return o.here
	case errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, net.ErrClosed):
		return ""
	case errors.Is(err, errHello) || errors.Is(err, ErrStranger):
		return strangers.NoHello
	case timedOut(err):
		return "no proof of the secret"
	}
	return ""
}

func refuse(conn net.Conn, reason string) {
	conn.SetDeadline(time.Now().Add(StrangerTime))
	WriteMessage(conn, refusal, []byte(reason[:min(len(reason), maxReason)]))
}

// A seat is where the dialers of an edge wait for it to be accepted.
type seat struct {
	visitors chan *Visitor // no buffer: who takes a visitor has it
	users    int
}

func (l *Lobby) take(e ring.Edge) *seat {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.seats[e]
	if s == nil {
		s = &seat{visitors: make(chan *Visitor)}
		l.seats[e] = s
	}
	s.users++
	return s
}

func (l *Lobby) give(e ring.Edge, s *seat) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.users--; s.users == 0 {
		delete(l.seats, e)
	}
}

// seat lets a dialer wait until its edge is accepted. It returns false when
// that will not happen any more.
func (l *Lobby) seat(e ring.Edge, v *Visitor) bool {
	s := l.take(e)
	defer l.give(e, s)
	for {
		now, newer := l.now()
		if e.Epoch < now {
			refuse(v, fmt.Sprintf("epoch %d is over, this is epoch %d", e.Epoch, now))
			return false
		}
		select {
		case s.visitors <- v:
			return true
		case <-newer:
		case <-l.closed:
			return false
		}
	}
}

// enter notes that this peer opens links of an epoch: those who still want
// links of an older one are refused.
func (l *Lobby) enter(epoch uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if epoch > l.epoch {
		l.epoch = epoch
		close(l.newer)
		l.newer = make(chan struct{})
	}
}

func (l *Lobby) now() (epoch uint64, newer <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.epoch, l.newer
}
