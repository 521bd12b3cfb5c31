package tcp

import (
	"context"
	"crypto/hmac"
	"fmt"
	"net"
	"time"

	"github.com/ringrun/ringrun/ring"
)

// strangerTime is how long a stranger may take to prove that it is none.
const strangerTime = 2 * time.Second

// Accept implements ring.Transport.
func (t *Transport) Accept(ctx context.Context, e ring.Edge) (ring.Link, error) {
	if e.Self != t.cfg.ID {
		return nil, fmt.Errorf("tcp: %q accepts a link in the name of %q", t.cfg.ID, e.Self)
	}
	ctx, cancel, err := t.within(ctx)
	if err != nil {
		return nil, err
	}
	defer cancel()
	t.enter(e.Epoch)
	s := t.take(e)
	defer t.give(e, s)
	for {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("tcp: accept %s: %w", e.Peer, context.Cause(ctx))
		}
		select {
		case conn := <-s.visitors:
			if l, err := t.admit(ctx, e, conn); err == nil {
				return l, nil
			}
		case <-ctx.Done():
		}
	}
}

// admit tells a dialer that has waited that its link is wanted now. One that
// has given up meanwhile does not answer.
func (t *Transport) admit(ctx context.Context, e ring.Edge, conn net.Conn) (ring.Link, error) {
	defer t.untrack(conn)
	ctx, cancel := context.WithTimeout(ctx, strangerTime)
	defer cancel()
	good := guard(ctx, conn)
	err := writeMessage(conn, welcome, nil)
	if err == nil {
		_, err = readMessage(conn, going, 0)
	}
	if !good() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return t.newLink(conn, e), nil
}

// greet is the handshake up to the proof. It returns the edge that the dialer
// wants, or false after having told it why not.
func (t *Transport) greet(conn net.Conn) (ring.Edge, bool) {
	conn.SetDeadline(time.Now().Add(strangerTime))
	h, said, err := readHello(conn)
	if err != nil {
		return ring.Edge{}, false
	}
	if reason := t.objection(h, conn); reason != "" {
		refuse(conn, reason)
		return ring.Edge{}, false
	}
	nonce := newNonce()
	answer := append(nonce[:], prove(t.cfg.Secret, "acceptor", said, nonce[:])...)
	if writeMessage(conn, challenge, answer) != nil {
		return ring.Edge{}, false
	}
	want := prove(t.cfg.Secret, "dialer", said, nonce[:])
	got, err := readMessage(conn, proof, len(want))
	if err != nil {
		return ring.Edge{}, false
	}
	if !hmac.Equal(got, want) {
		refuse(conn, "your secret is not the secret of run "+t.cfg.Run)
		return ring.Edge{}, false
	}
	conn.SetDeadline(time.Time{})
	return h.edge(), true
}

// objection says what is wrong with a hello, if anything is.
func (t *Transport) objection(h hello, conn net.Conn) string {
	switch {
	case h.version != version:
		return fmt.Sprintf("you speak version %d of the protocol, this is version %d", h.version, version)
	case h.run != t.cfg.Run:
		return fmt.Sprintf("you belong to run %q, this is run %q", h.run, t.cfg.Run)
	case h.to != t.cfg.ID:
		return fmt.Sprintf("you look for peer %q, this is peer %q", h.to, t.cfg.ID)
	}
	return ""
}

func refuse(conn net.Conn, reason string) {
	conn.SetDeadline(time.Now().Add(strangerTime))
	writeMessage(conn, refusal, []byte(reason[:min(len(reason), maxReason)]))
}

// A seat is where the dialers of an edge wait for it to be accepted.
type seat struct {
	visitors chan net.Conn // no buffer: who takes a visitor has it
	users    int
}

func (t *Transport) take(e ring.Edge) *seat {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.seats[e]
	if s == nil {
		s = &seat{visitors: make(chan net.Conn)}
		t.seats[e] = s
	}
	s.users++
	return s
}

func (t *Transport) give(e ring.Edge, s *seat) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s.users--; s.users == 0 {
		delete(t.seats, e)
	}
}

// seat lets a dialer wait until its edge is accepted. It returns false when
// that will not happen any more.
func (t *Transport) seat(e ring.Edge, conn net.Conn) bool {
	s := t.take(e)
	defer t.give(e, s)
	for {
		now, newer := t.now()
		if e.Epoch < now {
			refuse(conn, fmt.Sprintf("epoch %d is over, this is epoch %d", e.Epoch, now))
			return false
		}
		select {
		case s.visitors <- conn:
			return true
		case <-newer:
		case <-t.closed:
			return false
		}
	}
}

// enter notes that this peer opens links of an epoch: those who still want
// links of an older one are refused.
func (t *Transport) enter(epoch uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if epoch > t.epoch {
		t.epoch = epoch
		close(t.newer)
		t.newer = make(chan struct{})
	}
}

func (t *Transport) now() (epoch uint64, newer <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.epoch, t.newer
}
