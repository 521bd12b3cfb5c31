package membership

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// A Ticket lets somebody join a run until it expires: it is worth the secret of
// the run as long as the peers' clocks say so, and nothing afterwards.
type Ticket struct {
	Run     string    `json:"r"`
	Addrs   []string  `json:"a"` // of peers
	Expires time.Time `json:"-"`
	Until   int64     `json:"t"` // Expires, in seconds since 1970
	Key     []byte    `json:"k"`
}

// TicketPrefix is how tickets begin.
const TicketPrefix = "ringrun-ticket-"

const ticketSum = 4 // bytes of the checksum

// ErrTicket reports what is no ticket, or only a part of one.
var ErrTicket = errors.New("membership: not a whole ticket: copy all of it")

// NewTicket makes a ticket for a run.
func NewTicket(secret []byte, run string, addrs []string, expires time.Time) Ticket {
	t := Ticket{Run: run, Addrs: addrs, Until: expires.Unix()}
	t.Expires = time.Unix(t.Until, 0)
	t.Key = ticketKey(secret, run, t.Until)
	return t
}

func ticketKey(secret []byte, run string, until int64) []byte {
	return deriveKey(deriveKey(secret, "ticket", run), fmt.Sprint(until), run)
}

// String returns the ticket as one word. Whoever reads it can join.
func (t Ticket) String() string {
	b, err := json.Marshal(t)
	if err != nil {
		panic(err) // strings and numbers
	}
	sum := sha256.Sum256(b)
	return TicketPrefix + base64.RawURLEncoding.EncodeToString(append(b, sum[:ticketSum]...))
}

// ParseTicket reads what String has written.
func ParseTicket(s string) (Ticket, error) {
	word, ok := strings.CutPrefix(strings.TrimSpace(s), TicketPrefix)
	b, err := base64.RawURLEncoding.DecodeString(word)
	if !ok || err != nil || len(b) < ticketSum {
		return Ticket{}, ErrTicket
	}
	b, sum := b[:len(b)-ticketSum], b[len(b)-ticketSum:]
	var t Ticket
	if want := sha256.Sum256(b); string(want[:ticketSum]) != string(sum) || json.Unmarshal(b, &t) != nil || len(t.Addrs) == 0 {
		return Ticket{}, ErrTicket
	}
	t.Expires = time.Unix(t.Until, 0)
	return t, nil
}

// Redeem asks the peers that the ticket names for the secret of the run, and
// returns it with the address of the peer that gave it.
func (t Ticket) Redeem(ctx context.Context) (secret []byte, addr string, err error) {
	if now := time.Now(); !now.Before(t.Expires) {
		return nil, "", fmt.Errorf("membership: %w", t.expired(fmt.Sprintf(", and here it is %s", now.Format(time.RFC3339))))
	}
	var errs []error
	for _, addr := range t.Addrs {
		secret, err := t.redeemAt(ctx, addr)
		if err == nil {
			return secret, addr, nil
		}
		errs = append(errs, fmt.Errorf("%s: %s", addr, explain(err)))
	}
	return nil, "", fmt.Errorf("membership: nobody takes the ticket: %w", errors.Join(errs...))
}

func (t Ticket) expired(where string) error {
	return fmt.Errorf("the ticket has expired at %s%s: ask for a new one (ringrun ticket), or set the clock that is wrong", t.Expires.Format(time.RFC3339), where)
}

func (t Ticket) redeemAt(ctx context.Context, addr string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, helloTimeout)
	defer cancel()
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if deadline, ok := ctx.Deadline(); ok {
		c.SetDeadline(deadline)
	}
	door := &doorman{run: t.Run, id: "ticket", key: t.Key, until: t.Until}
	if _, err = door.knock(c, helloTicket); errors.Is(err, errExpired) {
		return nil, t.expired(" by the clock there")
	} else if err != nil {
		return nil, err
	}
	g, err := readGreeting(c)
	if err != nil || g.kind != helloSecret {
		return nil, errors.Join(errGreeting, err)
	}
	return door.unseal(g.body)
}

// errExpired: the other end says that a ticket is of no more use.
var errExpired = errors.New("the ticket has expired")

// forTicket returns the doorman for somebody with a ticket that is good until a
// time.
func (d *doorman) forTicket(until int64) *doorman {
	t := *d
	t.key, t.until = ticketKey(d.secret, d.run, until), until
	return &t
}

// give sends the secret to somebody who has proved to hold a ticket.
func (d *doorman) give(w io.Writer) error {
	_, err := w.Write(greeting{version: helloVersion, kind: helloSecret, body: d.seal(d.secret)}.appendTo(nil))
	return err
}

// seal encrypts for the other end of the handshake that this doorman had. Its key
// is used once, because both nonces are in what was said.
func (d *doorman) seal(text []byte) []byte {
	return d.aead().Seal(nil, make([]byte, 12), text, nil)
}

func (d *doorman) unseal(b []byte) ([]byte, error) {
	text, err := d.aead().Open(nil, make([]byte, 12), b, nil)
	if err != nil {
		return nil, errGreeting
	}
	return text, nil
}

func (d *doorman) aead() cipher.AEAD {
	m := hmac.New(sha256.New, d.key)
	m.Write([]byte("secret\x00"))
	m.Write(d.transcript)
	block, err := aes.NewCipher(m.Sum(nil))
	if err != nil {
		panic(err) // 32 bytes
	}
	a, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	return a
}

// appendUntil and cutUntil put the time at which a ticket ends before a hello.
func appendUntil(b []byte, until int64) []byte {
	return binary.BigEndian.AppendUint64(b, uint64(until))
}

func cutUntil(b []byte) (int64, []byte, error) {
	if len(b) < 8 {
		return 0, nil, errGreeting
	}
	return int64(binary.BigEndian.Uint64(b)), b[8:], nil
}
