package lobby

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/ringrun/ringrun/ring"
)

// The handshake:
//
//	dialer                                    acceptor
//	  | magic version size hello --------------> |  what, who, to whom, nonce
//	  | <------------------ challenge, or refusal|  nonce, proof of the secret
//	  | proof ---------------------------------> |
//	  |                                          |  … until the edge is accepted
//	  | <-------------------- welcome, or refusal|
//	  | going ---------------------------------> |
//	  | TLS, if that was agreed <--------------> |
//	  | what the transport has to say            |
//
// A proof is an HMAC-SHA256 over everything said before, keyed with the secret.
// Hello and challenge say whether their sender wants TLS, so nobody between the
// two can talk them out of it.
// The hello's first ten bytes are the same in every version; so is a refusal.
// After the hello a message is its kind, its size in two bytes, and a payload.
// Welcome and going are the transport's to send. All integers are big-endian.

const (
	version = 2

	magicBytes  = 7
	prefixBytes = magicBytes + 1 + 2
	nonceBytes  = 32
	answerBytes = 1 + nonceBytes // of a challenge, without the proof
	proofBytes  = sha256.Size
	maxHello    = 1 << 10
	maxReason   = 512

	// MaxName is the longest that the ID of a peer or the name of a run may be.
	MaxName = 255
)

const (
	challenge byte = iota + 1
	refusal
	proof
	// Welcome is what an acceptor says to a dialer whose link is wanted now.
	Welcome
	// Going is the dialer's answer to that: it is still there.
	Going
)

// A RefusedError says why the peer at the other end wants no link.
type RefusedError struct {
	Transport string
	Addr      string
	Reason    string
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("%s: refused by %s: %s", e.Transport, e.Addr, e.Reason)
}

// ErrStranger reports bytes that no peer would have sent.
var ErrStranger = errors.New("not a peer of this program")

// A hello is the first message of a dialer.
type hello struct {
	version  uint8
	run      string
	from, to string
	epoch    uint64
	lane     uint16
	privacy  Privacy
	nonce    [nonceBytes]byte
}

// edge returns the link's name as the acceptor sees it.
func (h hello) edge() ring.Edge {
	return ring.Edge{Self: h.to, Peer: h.from, Epoch: h.epoch, Lane: int(h.lane)}
}

func (h hello) appendTo(b []byte, magic string) []byte {
	b = append(b, magic...)
	b = append(b, h.version)
	size := len(b)
	b = append(b, 0, 0)
	for _, s := range []string{h.run, h.from, h.to} {
		b = append(b, byte(len(s)))
		b = append(b, s...)
	}
	b = binary.BigEndian.AppendUint64(b, h.epoch)
	b = binary.BigEndian.AppendUint16(b, h.lane)
	b = append(b, byte(h.privacy))
	b = append(b, h.nonce[:]...)
	binary.BigEndian.PutUint16(b[size:], uint16(len(b)-size-2))
	return b
}

// readHello reads a hello and returns its bytes too, which the proofs cover. Of
// a hello of another version only the version is known.
func readHello(r io.Reader, magic string) (hello, []byte, error) {
	b := make([]byte, prefixBytes)
	if _, err := io.ReadFull(r, b); err != nil {
		return hello{}, nil, err
	}
	size := int(binary.BigEndian.Uint16(b[magicBytes+1:]))
	if string(b[:magicBytes]) != magic || size > maxHello {
		return hello{}, nil, ErrStranger
	}
	h := hello{version: b[magicBytes]}
	if h.version != version {
		return h, nil, nil
	}
	b = append(b, make([]byte, size)...)
	if _, err := io.ReadFull(r, b[prefixBytes:]); err != nil {
		return hello{}, nil, err
	}
	err := h.parse(b[prefixBytes:])
	return h, b, err
}

func (h *hello) parse(b []byte) error {
	for _, s := range []*string{&h.run, &h.from, &h.to} {
		if len(b) == 0 {
			return ErrStranger
		}
		end := 1 + int(b[0])
		if len(b) < end {
			return ErrStranger
		}
		*s, b = string(b[1:end]), b[end:]
	}
	if len(b) != 8+2+1+nonceBytes || Privacy(b[10]) > Never {
		return ErrStranger
	}
	h.epoch = binary.BigEndian.Uint64(b)
	h.lane = binary.BigEndian.Uint16(b[8:])
	h.privacy = Privacy(b[10])
	copy(h.nonce[:], b[11:])
	return nil
}

func newNonce() (n [nonceBytes]byte) {
	rand.Read(n[:]) // never fails
	return n
}

// prove returns the proof that the sender, "dialer" or "acceptor", knows the
// secret and has seen the hello and the acceptor's answer.
func (c *Config) prove(who string, hello, answer []byte) []byte {
	m := hmac.New(sha256.New, c.Secret)
	io.WriteString(m, "ringrun "+c.Transport+" "+who)
	m.Write([]byte{0})
	m.Write(hello)
	m.Write(answer)
	return m.Sum(nil)
}

// WriteMessage writes one message.
func WriteMessage(w io.Writer, kind byte, payload []byte) error {
	b := binary.BigEndian.AppendUint16([]byte{kind}, uint16(len(payload)))
	_, err := w.Write(append(b, payload...))
	return err
}

// HeadBytes is the size of a message without its payload.
const HeadBytes = 3

// ReadMessage reads a message that must be of the given kind and size. It
// reads not a byte further. A refusal is a *RefusedError.
func ReadMessage(r io.Reader, kind byte, size int) ([]byte, error) {
	var head [HeadBytes]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	return ReadPayload(r, head, kind, size)
}

// ReadPayload reads the rest of a message whose head has been read.
func ReadPayload(r io.Reader, head [HeadBytes]byte, kind byte, size int) ([]byte, error) {
	n := int(binary.BigEndian.Uint16(head[1:]))
	refused := head[0] == refusal && n <= maxReason
	if !refused && (head[0] != kind || n != size) {
		return nil, ErrStranger
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, err
	}
	if refused {
		return nil, &RefusedError{Reason: printable(string(b))}
	}
	return b, nil
}

// printable replaces what could disturb a terminal: the sender of a refusal has
// proved nothing.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\uFFFD' {
			return '?'
		}
		return r
	}, s)
}
