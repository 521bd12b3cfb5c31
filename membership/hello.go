package membership

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
)

// Every TCP stream between peers begins so:
//
//	dialer                                     acceptor
//	  | hello (stream or probe) -----------------> |  run, ID, start, nonce
//	  | <--------------------- welcome, or refusal |  ID, start, nonce, proof
//	  |                                            |  a probe ends here
//	  | proof -----------------------------------> |
//	  | gossip <------------------------> gossip   |
//
// All these greetings have one frame, the same in every version, integers
// big-endian:
//
//	 0      7         8      9      11
//	+------+---------+------+------+-----------+
//	|magic | version | kind | size | body …    |
//	+------+---------+------+------+-----------+
//
// and the body of a refusal is the refuser's run in every version. So whoever
// meets another version or another run can name it. A proof is an HMAC-SHA256,
// keyed with the secret, over everything said before; both nonces are in it.
const (
	helloMagic = "RINGRUN"
	// helloVersion is raised by whatever makes peers of two builds unable to train
	// together, be it in this package or above: who is refused here disturbs nobody.
	helloVersion = 2

	greetingBytes = len(helloMagic) + 1 + 1 + 2
	maxGreeting   = 1 << 10

	startBytes = 16
	nonceBytes = 32
	proofBytes = sha256.Size
)

// Kinds of greetings.
const (
	helloStream byte = iota + 1 // gossip follows
	helloProbe                  // who are you?
	helloWelcome
	helloRefusal
	helloProof
	helloHold    // nothing follows: that the stream ends is the news
	helloControl // TLS and HTTP follow
	helloTicket  // from somebody who has a ticket, see ticket.go; the secret follows
	helloSecret
	helloExpired // an answer to that: the ticket is of no more use
)

// A greeting is one message of the handshake.
type greeting struct {
	version uint8
	kind    byte
	body    []byte
}

func (g greeting) appendTo(b []byte) []byte {
	b = append(b, helloMagic...)
	b = append(b, g.version, g.kind)
	b = binary.BigEndian.AppendUint16(b, uint16(len(g.body)))
	return append(b, g.body...)
}

// A strangerError reports that what came is no greeting.
type strangerError struct{ got []byte }

func (e *strangerError) Error() string {
	return fmt.Sprintf("it is not a ringrun peer: it said %q", e.got)
}

// readGreeting reads one greeting and not a byte more. It stops at the first
// byte that shows a stranger, who may be waiting for us to go on.
func readGreeting(r io.Reader) (greeting, error) {
	head := make([]byte, greetingBytes)
	for n := 0; n < len(head); {
		m, err := r.Read(head[n:])
		n += m
		if k := min(n, len(helloMagic)); string(head[:k]) != helloMagic[:k] {
			return greeting{}, &strangerError{got: head[:n]}
		}
		if n < len(head) && err != nil {
			return greeting{}, err
		}
	}
	size := int(binary.BigEndian.Uint16(head[len(helloMagic)+2:]))
	if size > maxGreeting {
		return greeting{}, &strangerError{got: head}
	}
	g := greeting{version: head[len(helloMagic)], kind: head[len(helloMagic)+1], body: make([]byte, size)}
	_, err := io.ReadFull(r, g.body)
	return g, err
}

// A hello is the body of a dialer's first greeting.
type hello struct {
	run   string
	id    string
	start [startBytes]byte // random, drawn when the peer started
	nonce [nonceBytes]byte
}

func (h hello) appendTo(b []byte) []byte {
	b = appendName(b, h.run)
	b = appendName(b, h.id)
	b = append(b, h.start[:]...)
	return append(b, h.nonce[:]...)
}

func parseHello(b []byte) (h hello, err error) {
	if h.run, b, err = cutName(b); err != nil {
		return hello{}, err
	}
	if h.id, b, err = cutName(b); err != nil {
		return hello{}, err
	}
	if len(b) != startBytes+nonceBytes {
		return hello{}, errGreeting
	}
	copy(h.start[:], b)
	copy(h.nonce[:], b[startBytes:])
	return h, nil
}

// A welcome is the body of an acceptor's answer.
type welcome struct {
	grouped bool // the acceptor belongs to a group that was founded
	id      string
	start   [startBytes]byte
	nonce   [nonceBytes]byte
	proof   [proofBytes]byte
}

func (w welcome) appendTo(b []byte) []byte {
	var flags byte
	if w.grouped {
		flags = 1
	}
	b = append(b, flags)
	b = appendName(b, w.id)
	b = append(b, w.start[:]...)
	b = append(b, w.nonce[:]...)
	return append(b, w.proof[:]...)
}

func parseWelcome(b []byte) (w welcome, err error) {
	if len(b) == 0 || b[0] > 1 {
		return welcome{}, errGreeting
	}
	w.grouped = b[0] == 1
	if w.id, b, err = cutName(b[1:]); err != nil {
		return welcome{}, err
	}
	if len(b) != startBytes+nonceBytes+proofBytes {
		return welcome{}, errGreeting
	}
	copy(w.start[:], b)
	copy(w.nonce[:], b[startBytes:])
	copy(w.proof[:], b[startBytes+nonceBytes:])
	return w, nil
}

var errGreeting = errors.New("it said hello in a way that cannot be read")

func appendName(b []byte, s string) []byte { return append(append(b, byte(len(s))), s...) }

func cutName(b []byte) (string, []byte, error) {
	if len(b) == 0 || len(b) < 1+int(b[0]) {
		return "", nil, errGreeting
	}
	n := 1 + int(b[0])
	return string(b[1:n]), b[n:], nil
}

// printable replaces what could disturb a terminal: who sent it has proved
// nothing.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}
