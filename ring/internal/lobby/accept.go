package lobby

import (
	"context"
	"crypto/hmac"
	"fmt"
	"net"
	"time"

	"github.com/ringrun/ringrun/ring"
)

// StrangerTime is how long a stranger may take to prove that it is none, and
// a dialer that has waited to say that it is still there.
const StrangerTime = 2 * time.Second

// Accept waits for those who dial an edge and have proved who they are, until
// meet succeeds with one. The connection belongs to meet, and its context ends
// after StrangerTime.
func (l *Lobby) Accept(ctx context.Context, e ring.Edge, meet func(context.Context, net.Conn) error) error {
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
		case conn := <-s.visitors:
			if l.admit(ctx, conn, meet) == nil {
				return nil
			}
		case <-ctx.Done():
		}
	}
}

// admit lets meet tell a dialer that has waited that its link is wanted now. One
// that has given up meanwhile does not answer.
func (l *Lobby) admit(ctx context.Context, conn net.Conn, meet func(context.Context, net.Conn) error) error {
	defer l.untrack(conn)
	ctx, cancel := context.WithTimeout(ctx, StrangerTime)
	defer cancel()
	return meet(ctx, conn)
}

// greet is the handshake up to the proof. It returns the edge that the dialer
// wants, or false after having told it why not.
func (c *Config) greet(conn net.Conn) (ring.Edge, bool) {
	conn.SetDeadline(time.Now().Add(StrangerTime))
	h, said, err := readHello(conn, c.Magic)
	if err != nil {
		return ring.Edge{}, false
	}
	if reason := c.objection(h); reason != "" {
		refuse(conn, reason)
		return ring.Edge{}, false
	}
	nonce := newNonce()
	answer := append(nonce[:], c.prove("acceptor", said, nonce[:])...)
	if WriteMessage(conn, challenge, answer) != nil {
		return ring.Edge{}, false
	}
	want := c.prove("dialer", said, nonce[:])
	got, err := ReadMessage(conn, proof, len(want))
	if err != nil {
		return ring.Edge{}, false
	}
	if !hmac.Equal(got, want) {
		refuse(conn, "your secret is not the secret of run "+c.Run)
		return ring.Edge{}, false
	}
	conn.SetDeadline(time.Time{})
	return h.edge(), true
}

// objection says what is wrong with a hello, if anything is.
func (c *Config) objection(h hello) string {
	switch {
	case h.version != version:
		return fmt.Sprintf("you speak version %d of the protocol, this is version %d", h.version, version)
	case h.run != c.Run:
		return fmt.Sprintf("you belong to run %q, this is run %q", h.run, c.Run)
	case h.to != c.ID:
		return fmt.Sprintf("you look for peer %q, this is peer %q", h.to, c.ID)
	}
	return ""
}

func refuse(conn net.Conn, reason string) {
	conn.SetDeadline(time.Now().Add(StrangerTime))
	WriteMessage(conn, refusal, []byte(reason[:min(len(reason), maxReason)]))
}

// A seat is where the dialers of an edge wait for it to be accepted.
type seat struct {
	visitors chan net.Conn // no buffer: who takes a visitor has it
	users    int
}

func (l *Lobby) take(e ring.Edge) *seat {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.seats[e]
	if s == nil {
		s = &seat{visitors: make(chan net.Conn)}
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
func (l *Lobby) seat(e ring.Edge, conn net.Conn) bool {
	s := l.take(e)
	defer l.give(e, s)
	for {
		now, newer := l.now()
		if e.Epoch < now {
			refuse(conn, fmt.Sprintf("epoch %d is over, this is epoch %d", e.Epoch, now))
			return false
		}
		select {
		case s.visitors <- conn:
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
