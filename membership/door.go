package membership

import (
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"time"
)

// A doorman says hello, and answers it, for one peer.
type doorman struct {
	run   string
	id    string
	start [startBytes]byte
	key   []byte

	secret     []byte // that a ticket is worth
	until      int64  // of tickets only
	transcript []byte // of a handshake with a ticket: all that was said
}

func newDoorman(cfg Config) *doorman {
	d := &doorman{run: cfg.Run, id: cfg.ID, key: deriveKey(cfg.Secret, "hello", cfg.Run), secret: cfg.Secret}
	copy(d.start[:], randomBytes(startBytes))
	return d
}

// deriveKey makes the key for one purpose of one run out of the secret.
func deriveKey(secret []byte, purpose, run string) []byte {
	m := hmac.New(sha256.New, secret)
	fmt.Fprintf(m, "ringrun membership %s\x00%s", purpose, run)
	return m.Sum(nil)
}

func (d *doorman) prove(who string, said ...[]byte) (p [proofBytes]byte) {
	m := hmac.New(sha256.New, d.key)
	io.WriteString(m, who+"\x00")
	for _, b := range said {
		m.Write(b)
	}
	copy(p[:], m.Sum(nil))
	return p
}

// A mismatchError says in which way the peer at an address is not one of ours.
// Trying again does not help.
type mismatchError struct {
	text string
	ours bool // it claims to be of our run all the same
}

func (e *mismatchError) Error() string { return e.text }

// knock is the dialer's part. The welcome that it returns is authentic.
func (d *doorman) knock(rw io.ReadWriter, kind byte) (welcome, error) {
	h := hello{run: d.run, id: d.id, start: d.start}
	copy(h.nonce[:], randomBytes(nonceBytes))
	var body []byte
	if kind == helloTicket {
		body = appendUntil(body, d.until)
	}
	said := greeting{version: helloVersion, kind: kind, body: h.appendTo(body)}.appendTo(nil)
	if _, err := rw.Write(said); err != nil {
		return welcome{}, err
	}
	answer, err := readGreeting(rw)
	if err != nil {
		return welcome{}, err
	}
	if err := d.judge(answer); err != nil {
		return welcome{}, err
	}
	w, err := parseWelcome(answer.body)
	if err != nil {
		return welcome{}, &mismatchError{text: err.Error()}
	}
	heard := answer.appendTo(nil)
	want := d.prove("acceptor", said, heard[:len(heard)-proofBytes])
	if !hmac.Equal(w.proof[:], want[:]) {
		return welcome{}, &mismatchError{ours: true, text: fmt.Sprintf(
			"it is of run %q too but has another secret: all peers of a run share one (RINGRUN_SECRET)", d.run)}
	}
	if kind != helloProbe {
		p := d.prove("dialer", said, heard)
		_, err = rw.Write(greeting{version: helloVersion, kind: helloProof, body: p[:]}.appendTo(nil))
	}
	if kind == helloTicket {
		d.transcript = append(said, heard...)
	}
	return w, err
}

// judge returns nil if the answer is a welcome of our version.
func (d *doorman) judge(a greeting) error {
	run := string(a.body)
	switch {
	case a.version != helloVersion:
		return &mismatchError{ours: string(a.body) == d.run, text: fmt.Sprintf(
			"it speaks version %d and this program version %d: use one build of ringrun everywhere", a.version, helloVersion)}
	case a.kind == helloRefusal && run != d.run:
		return &mismatchError{text: fmt.Sprintf(
			"it is of run %q, and this peer of run %q: check the address, and that both have the same secret and RINGRUN_RUN", printable(run), d.run)}
	case a.kind == helloRefusal:
		return &mismatchError{text: "it refuses this peer without saying why"}
	case a.kind == helloExpired:
		return errExpired
	case a.kind != helloWelcome:
		return &mismatchError{text: errGreeting.Error()}
	}
	return nil
}

// answer is the acceptor's part. It returns the kind of the dialer's hello; a
// stream may be used when there is no error.
func (d *doorman) answer(rw io.ReadWriter, grouped bool) (kind byte, err error) {
	g, err := readGreeting(rw)
	if err != nil {
		return 0, err
	}
	if g.version != helloVersion {
		return 0, d.refuse(rw, fmt.Errorf("a peer that speaks version %d, not %d: use one build of ringrun everywhere", g.version, helloVersion))
	}
	body := g.body
	if g.kind == helloTicket {
		var until int64
		if until, body, err = cutUntil(body); err != nil {
			return 0, err
		}
		d = d.forTicket(until)
	}
	h, err := parseHello(body)
	if err != nil || !isHello(g.kind) {
		return 0, errGreeting
	}
	if h.run != d.run {
		return 0, d.refuse(rw, fmt.Errorf("peer %q of another run, %q, not %q", printable(h.id), printable(h.run), d.run))
	}
	if g.kind == helloTicket && time.Now().Unix() >= d.until {
		_, err := rw.Write(greeting{version: helloVersion, kind: helloExpired}.appendTo(nil))
		return 0, errors.Join(err, &refusedError{who: fmt.Sprintf("somebody with a ticket that has expired at %v", time.Unix(d.until, 0))})
	}
	said := g.appendTo(nil)
	heard, err := d.welcome(rw, said, grouped)
	if err != nil || g.kind == helloProbe {
		return g.kind, err
	}
	p, err := readGreeting(rw)
	if err != nil {
		return g.kind, err
	}
	want := d.prove("dialer", said, heard)
	if p.kind != helloProof || !hmac.Equal(p.body, want[:]) {
		return g.kind, &refusedError{who: fmt.Sprintf("peer %q, which has another secret", printable(h.id))}
	}
	if g.kind == helloTicket {
		d.transcript = append(said, heard...)
		return g.kind, d.give(rw)
	}
	return g.kind, nil
}

func isHello(kind byte) bool {
	switch kind {
	case helloStream, helloProbe, helloHold, helloControl, helloTicket:
		return true
	}
	return false
}

// welcome sends a welcome and returns its bytes.
func (d *doorman) welcome(w io.Writer, said []byte, grouped bool) ([]byte, error) {
	body := welcome{grouped: grouped, id: d.id, start: d.start}
	copy(body.nonce[:], randomBytes(nonceBytes))
	b := greeting{version: helloVersion, kind: helloWelcome, body: body.appendTo(nil)}.appendTo(nil)
	open := b[:len(b)-proofBytes]
	proof := d.prove("acceptor", said, open)
	copy(b[len(open):], proof[:])
	_, err := w.Write(b)
	return b, err
}

// A refusedError says whom this peer has turned away.
type refusedError struct{ who string }

func (e *refusedError) Error() string { return "refused " + e.who }

func (d *doorman) refuse(w io.Writer, who error) error {
	g := greeting{version: helloVersion, kind: helloRefusal, body: []byte(d.run)}
	if _, err := w.Write(g.appendTo(nil)); err != nil {
		return err
	}
	return &refusedError{who: who.Error()}
}
