package membership

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// What peers say to each other about views. Any message may be lost, repeated or
// late; e is always the epoch that is being chosen, one more than the sender's.
//
//	join      newcomer → members       let me in
//	leave     member → members         go on without me
//	renew     member → members         epoch e-1 is of no more use
//	prepare   proposer → members       promise to accept nothing below this ballot
//	promise   member → proposer        I do; this I have accepted, these want in
//	accept    proposer → members       accept this view
//	accepted  member → proposer        I have
//	refuse    member → proposer        I have promised a higher ballot
//	decided   any → any                the view of epoch e is this
//	ask       any → any                I seem to be behind: what is the newest view?
//	signal    any → any                a small message of the layer above
//	full      member → newcomer        there are as many peers as there may be
//	over      any → any                the run has ended: see over.go
type kind string

const (
	kindJoin     kind = "join"
	kindLeave    kind = "leave"
	kindRenew    kind = "renew"
	kindPrepare  kind = "prepare"
	kindPromise  kind = "promise"
	kindAccept   kind = "accept"
	kindAccepted kind = "accepted"
	kindRefuse   kind = "refuse"
	kindDecided  kind = "decided"
	kindAsk      kind = "ask"
	kindSignal   kind = "signal"
	kindFull     kind = "full"
	kindOver     kind = "over"
)

// A ballot orders proposals for one epoch; ranks make those of a round distinct.
type ballot struct {
	Round uint64 `json:"n"`
	Rank  int    `json:"r"`
}

func (b ballot) less(c ballot) bool {
	return b.Round < c.Round || b.Round == c.Round && b.Rank < c.Rank
}

type message struct {
	Kind      kind     `json:"kind"`
	Group     string   `json:"group,omitempty"` // of the sender's view; none if it has none yet
	From      string   `json:"from"`
	Addr      string   `json:"addr"`         // of the sender
	To        string   `json:"to,omitempty"` // none: whoever is at the address
	Epoch     uint64   `json:"epoch,omitempty"`
	Ballot    ballot   `json:"ballot,omitzero"`
	Accepted  ballot   `json:"accepted,omitzero"` // in a promise: the ballot of View
	View      *View    `json:"view,omitempty"`
	Newcomers []Peer   `json:"newcomers,omitempty"`
	Leaving   []string `json:"leaving,omitempty"`
	Limit     int      `json:"limit,omitempty"` // of the sender's view, when it is full
	Steps     uint64   `json:"steps,omitempty"` // in over
	Data      []byte   `json:"data,omitempty"`

	dest string // address to send to; does not travel
}

const (
	maxMessage = 4 << 20
	maxPeers   = 4096
	maxMeta    = 1 << 10
	maxName    = 256
	maxRound   = 1 << 62 // so that there is always a higher one
)

var errMessage = errors.New("membership: not a message")

func (m message) encode() []byte {
	b, err := json.Marshal(m)
	if err != nil {
		panic(fmt.Sprintf("membership: message %+v does not encode: %v", m, err))
	}
	return b
}

// decode parses and checks what came from the network.
func decode(b []byte) (message, error) {
	var m message
	if len(b) > maxMessage {
		return m, fmt.Errorf("%w: %d bytes, at most %d", errMessage, len(b), maxMessage)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&m); err != nil {
		return m, fmt.Errorf("%w: %w", errMessage, err)
	}
	if d.More() {
		return m, fmt.Errorf("%w: more than one", errMessage)
	}
	return m, m.validate()
}

func (m message) validate() error {
	if m.From == "" || len(m.From) > maxName || len(m.Addr) > maxName {
		return fmt.Errorf("%w: from %.40q at %.40q", errMessage, m.From, m.Addr)
	}
	if m.Ballot.Round > maxRound || m.Accepted.Round > maxRound {
		return fmt.Errorf("%w: ballots of rounds %d and %d", errMessage, m.Ballot.Round, m.Accepted.Round)
	}
	if err := checkPeers(m.Newcomers); err != nil {
		return err
	}
	switch m.Kind {
	case kindAccept, kindDecided:
		if m.View == nil {
			return fmt.Errorf("%w: %s without a view", errMessage, m.Kind)
		}
	case kindJoin:
		if len(m.Newcomers) != 1 || m.Newcomers[0].ID != m.From {
			return fmt.Errorf("%w: %s joins with %d peers, want itself", errMessage, m.From, len(m.Newcomers))
		}
	case kindLeave, kindRenew, kindPrepare, kindPromise, kindAccepted, kindRefuse, kindAsk, kindSignal, kindFull, kindOver:
	default:
		return fmt.Errorf("%w: kind %.40q", errMessage, m.Kind)
	}
	if m.View == nil {
		return nil
	}
	if v := m.View; len(v.Peers) == 0 || v.Epoch == 0 || v.Epoch != m.Epoch || v.Group == "" {
		return fmt.Errorf("%w: %s for epoch %d with view %d of %d peers, group %.40q", errMessage, m.Kind, m.Epoch, v.Epoch, len(v.Peers), v.Group)
	}
	if q := m.View.Quarantine; q < 0 || q > quarantine || len(m.View.Prefer) > maxName {
		return fmt.Errorf("%w: a view with a quarantine of %d, that prefers %.40q", errMessage, q, m.View.Prefer)
	}
	if m.View.Limit < 0 {
		return fmt.Errorf("%w: a view of at most %d peers", errMessage, m.View.Limit)
	}
	if err := checkPeers(m.View.LeftOut); err != nil {
		return err
	}
	return checkPeers(m.View.members())
}

func checkPeers(peers []Peer) error {
	if len(peers) > maxPeers {
		return fmt.Errorf("%w: %d peers, at most %d", errMessage, len(peers), maxPeers)
	}
	seen := make(ids, len(peers))
	for _, p := range peers {
		if p.ID == "" || len(p.ID) > maxName || p.Addr == "" || len(p.Addr) > maxName || len(p.Meta) > maxMeta {
			return fmt.Errorf("%w: peer %.40q at %.40q with %d bytes", errMessage, p.ID, p.Addr, len(p.Meta))
		}
		if seen[p.ID] {
			return fmt.Errorf("%w: peer %q twice", errMessage, p.ID)
		}
		seen[p.ID] = true
	}
	return nil
}
