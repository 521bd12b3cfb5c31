package elastic

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/ringrun/ringrun/elastic/blackbox"
	"github.com/ringrun/ringrun/membership"
	"go.uber.org/zap"
)

const (
	mirrorEvery = time.Second // from one letter to the neighbour to the next
	mirrorIdle  = 3           // letters of which all but one are saved while nothing happens
	mirrorTime  = 2 * time.Second
	lastMirror  = 300 * time.Millisecond
	clockEvery  = 30 * time.Second // from one note of the neighbour's clock to the next
)

// A letter is what a peer tells the neighbour that keeps a copy of its box:
// POST /blackbox.
type letter struct {
	Header blackbox.Header  `json:"header"`
	Gauge  blackbox.Gauge   `json:"gauge"`
	Events []blackbox.Event `json:"events"`
}

// A receipt answers it.
type receipt struct {
	Have  uint64 `json:"have"`  // the newest event in the copy
	Clock int64  `json:"clock"` // of the neighbour, in nanoseconds since 1970
}

// A mirror sends what is new in this peer's box to a neighbour. It belongs to one
// goroutine.
type mirror struct {
	g      *Group
	client *http.Client // nil: there is none
	to     membership.Peer
	have   uint64 // what the neighbour has
	idle   int
	slack  time.Duration // of the clock noted last
	noted  time.Time
}

func newMirror(g *Group) *mirror {
	client, err := membership.ControlClient(g.cfg.Membership.Secret, g.node().Run())
	if err != nil {
		g.cfg.Logger.Warn("no neighbour keeps a copy of the black box", zap.Error(err))
	}
	return &mirror{g: g, client: client}
}

func (m *mirror) close() {
	if m.client != nil {
		m.client.CloseIdleConnections()
	}
}

func (m *mirror) run(ctx context.Context) {
	tick := time.NewTicker(mirrorEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			m.send(ctx, mirrorTime)
		case <-ctx.Done():
			return
		}
	}
}

// send does not fail: what did not arrive is in the next letter, to whoever is the
// neighbour then.
func (m *mirror) send(ctx context.Context, within time.Duration) {
	gen := m.g.current()
	if m.client == nil || gen == nil || len(gen.view.Peers) < 2 {
		return
	}
	if to := keeperOf(gen.view, gen.rank); to.ID != m.to.ID {
		m.to, m.have, m.idle, m.noted = to, 0, mirrorIdle, time.Time{}
	}
	box := m.g.recorder.box
	events, gauge := box.Since(m.have)
	if m.idle++; len(events) == 0 && m.idle < mirrorIdle {
		return
	}
	m.idle = 0
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	began := time.Now()
	got, err := m.post(ctx, letter{box.Header(), gauge, events})
	if err != nil {
		m.g.cfg.Logger.Debug("the neighbour did not get the black box", zap.String("peer", m.to.ID), zap.Error(err))
		return
	}
	m.have = got.Have
	m.clock(began, time.Since(began), got.Clock)
}

func (m *mirror) post(ctx context.Context, l letter) (got receipt, err error) {
	body, err := json.Marshal(l)
	if err != nil {
		return got, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+m.to.Addr+"/blackbox", bytes.NewReader(body))
	if err != nil {
		return got, err
	}
	resp, err := m.client.Do(req)
	if err != nil {
		return got, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return got, fmt.Errorf("elastic: black box: %s", resp.Status)
	}
	err = json.NewDecoder(http.MaxBytesReader(nil, resp.Body, 1<<10)).Decode(&got)
	return got, err
}

// clock notes by how much the neighbour's is ahead, if that is news: the quicker
// the answer, the more exact it is.
func (m *mirror) clock(began time.Time, took time.Duration, there int64) {
	slack := took / 2
	if old := time.Since(m.noted) > clockEvery; !old && slack > m.slack/2 {
		return
	}
	m.slack, m.noted = slack, time.Now()
	m.g.recorder.note(blackbox.Event{
		Kind: blackbox.Clock, Peer: m.to.ID, Value: there - began.Add(slack).UnixNano(), Slack: int64(slack),
	})
}

// keeperOf returns who keeps a copy of the box of the peer of a rank: the next one
// of the ring that is on another host, so that it outlives this one; else the next.
func keeperOf(v membership.View, rank int) membership.Peer {
	n := len(v.Peers)
	here := near(v.Peers[rank].Meta)
	for i := 1; i < n; i++ {
		if p := v.Peers[(rank+i)%n]; near(p.Meta) != here {
			return p
		}
	}
	return v.Peers[(rank+1)%n]
}
