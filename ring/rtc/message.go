package rtc

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/pion/webrtc/v3"
)

// The kinds of message. A dialler offers, the acceptor answers; either says end
// when it gives the session up, or does not know it.
const (
	kindOffer  = "offer"
	kindAnswer = "answer"
	kindEnd    = "end"
)

const (
	version       = 1
	maxSignal     = 48 << 10 // bytes of a whole message
	maxID         = 256
	maxLanes      = 256     // of one ring
	maxLane       = 1 << 16 // number of a lane; a group's are above those of the ring
	maxReason     = 512
	maxCandidates = 256 // a peer's addresses, twice each, as pion writes them
	sessionBytes  = 16
)

// edge names a link alike on both sides.
type edge struct {
	From  string `json:"from"` // the dialler
	To    string `json:"to"`   // the acceptor
	Epoch uint64 `json:"epoch"`
	Lane  int    `json:"lane"`
}

func (e edge) String() string {
	return fmt.Sprintf("%s to %s, epoch %d, lane %d", e.From, e.To, e.Epoch, e.Lane)
}

// message is what peers say through the Signaler.
type message struct {
	Version int    `json:"v"`
	Kind    string `json:"kind"`
	Session string `json:"session"` // one attempt of the dialler, random
	edge
	SDP    string `json:"sdp,omitempty"`    // of an offer or answer
	Reason string `json:"reason,omitempty"` // of an end
}

// errMessage reports a signal that is not a message of this version.
var errMessage = errors.New("rtc: not a signal")

func newSession() string {
	b := make([]byte, sessionBytes)
	rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

func (m message) encode() []byte {
	m.Version = version
	m.Reason = strings.ToValidUTF8(m.Reason[:min(len(m.Reason), maxReason)], "")
	b, err := json.Marshal(m)
	if err != nil {
		panic(err) // strings and numbers only
	}
	return b
}

// parseMessage decodes what came through the Signaler. Its errors wrap errMessage.
func parseMessage(b []byte) (message, error) {
	if len(b) > maxSignal {
		return message{}, fmt.Errorf("%w: %d bytes, at most %d", errMessage, len(b), maxSignal)
	}
	var m message
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&m); err != nil {
		return message{}, fmt.Errorf("%w: %w", errMessage, err)
	}
	if d.More() {
		return message{}, fmt.Errorf("%w: more than one value", errMessage)
	}
	if err := m.check(); err != nil {
		return message{}, fmt.Errorf("%w: %w", errMessage, err)
	}
	return m, nil
}

func (m message) check() error {
	if m.Version != version {
		return fmt.Errorf("version %d, this is version %d", m.Version, version)
	}
	if s, err := hex.DecodeString(m.Session); err != nil || len(s) != sessionBytes {
		return fmt.Errorf("session %.40q", m.Session)
	}
	for _, id := range []string{m.From, m.To} {
		if id == "" || len(id) > maxID {
			return fmt.Errorf("peer ID of %d bytes, want 1 to %d", len(id), maxID)
		}
	}
	if m.From == m.To {
		return fmt.Errorf("edge from %q to itself", m.From)
	}
	if m.Lane < 0 || m.Lane >= maxLane {
		return fmt.Errorf("lane %d, want 0 to %d", m.Lane, maxLane-1)
	}
	switch described := m.SDP != ""; m.Kind {
	case kindOffer, kindAnswer:
		if !described || m.Reason != "" {
			return fmt.Errorf("%s with a description of %d bytes and reason %q", m.Kind, len(m.SDP), m.Reason)
		}
	case kindEnd:
		if described || len(m.Reason) > maxReason {
			return fmt.Errorf("end with a description of %d bytes and a reason of %d", len(m.SDP), len(m.Reason))
		}
	default:
		return fmt.Errorf("kind %.40q", m.Kind)
	}
	return nil
}

// description is a peer's SDP, and what we rely on in it.
type description struct {
	webrtc.SessionDescription
	fingerprint [32]byte // SHA-256 of the certificate that DTLS must show
}

// parseDescription checks that m describes one data channel, secured by exactly
// one certificate whose SHA-256 is given.
func parseDescription(m message) (description, error) {
	d := description{SessionDescription: webrtc.SessionDescription{Type: webrtc.NewSDPType(m.Kind), SDP: m.SDP}}
	s, err := d.Unmarshal()
	if err != nil {
		return d, fmt.Errorf("rtc: description: %w", err)
	}
	if n := len(s.MediaDescriptions); n != 1 || s.MediaDescriptions[0].MediaName.Media != "application" {
		return d, fmt.Errorf("rtc: description of %d media, want one data channel", n)
	}
	var fingerprints []string
	candidates := 0
	for _, a := range append(s.Attributes, s.MediaDescriptions[0].Attributes...) {
		switch a.Key {
		case "fingerprint":
			fingerprints = append(fingerprints, a.Value)
		case "candidate":
			candidates++
		}
	}
	if len(fingerprints) != 1 {
		return d, fmt.Errorf("rtc: description with %d fingerprints, want 1", len(fingerprints))
	}
	if candidates == 0 || candidates > maxCandidates {
		return d, fmt.Errorf("rtc: description with %d candidates, want 1 to %d", candidates, maxCandidates)
	}
	d.fingerprint, err = parseFingerprint(fingerprints[0])
	return d, err
}

func parseFingerprint(s string) (sum [32]byte, err error) {
	algorithm, value, _ := strings.Cut(s, " ")
	if !strings.EqualFold(algorithm, "sha-256") {
		return sum, fmt.Errorf("rtc: fingerprint by %.20q, want sha-256", algorithm)
	}
	b, err := hex.DecodeString(strings.ReplaceAll(value, ":", ""))
	if err != nil || len(b) != len(sum) {
		return sum, fmt.Errorf("rtc: fingerprint %.100q is not a SHA-256", value)
	}
	return [32]byte(b), nil
}
