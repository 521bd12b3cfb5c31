package main

import (
	"fmt"
	"io"
	"math"
	"time"

	"github.com/ringrun/ringrun/elastic"
	bridge "github.com/ringrun/ringrun/gorgonia_bridge"
)

// progress counts what has been done, and prints a line on the peer of rank 0
// about every second.
type progress struct {
	group    *elastic.Group
	bridge   *bridge.Bridge
	settings settings
	out      io.Writer

	began time.Time // of the first pass
	now   summary   // all but what finish adds
	bits  float64   // per character, as a mean in which older steps count less

	said         time.Time // the time of the last line
	charactersBy int       // characters until the last line
}

func newProgress(g *elastic.Group, b *bridge.Bridge, s settings, out io.Writer) *progress {
	return &progress{group: g, bridge: b, settings: s, out: out, bits: math.NaN()}
}

// pass is called before each pass. The clock runs from the first one on, not
// while the peers come together.
func (p *progress) pass() {
	if p.began.IsZero() {
		p.began = time.Now()
	}
}

// step is called after each committed step.
func (p *progress) step() {
	p.look()
	p.now.Characters = int(math.Round(p.bridge.Passes() * float64(p.settings.shard)))
	bits := p.bridge.Metric("loss") / math.Ln2
	if math.IsNaN(p.bits) {
		p.bits = bits
	}
	p.bits += (bits - p.bits) / 50
	p.group.Observe("bits", bits)
	if p.now.Rank == 0 && (p.said.IsZero() || time.Since(p.said) >= time.Second) {
		p.say()
	}
}

// look notes where this peer is. At the end it is too late: the others leave.
func (p *progress) look() {
	p.now.Rank, p.now.Size, p.now.Epoch = p.group.Rank(), p.group.Size(), p.group.Epoch()
	p.now.Steps = p.group.Steps()
}

func (p *progress) say() {
	from := p.said
	if from.IsZero() {
		from = p.began
	}
	peers := "peers"
	if p.now.Size == 1 {
		peers = "peer"
	}
	seconds := max(time.Since(from).Seconds(), 1e-9)
	fmt.Fprintf(p.out, "step %d of %d  %.3f bits/char  %.0f chars/s  %d %s\n", p.now.Steps, p.settings.steps,
		p.bits, float64(p.now.Characters-p.charactersBy)/seconds, p.now.Size, peers)
	p.said, p.charactersBy = time.Now(), p.now.Characters
}

// summary is called when training is over.
func (p *progress) summary() summary {
	if p.began.IsZero() {
		p.look() // this peer came too late for any step
		return p.now
	}
	if p.now.Rank == 0 && p.now.Characters > p.charactersBy {
		p.say()
	}
	s := p.now
	if !math.IsNaN(p.bits) && !math.IsInf(p.bits, 0) { // JSON cannot say them
		s.Bits = &p.bits
	}
	s.Seconds = max(time.Since(p.began).Seconds(), 1e-9)
	s.CharactersPerSecond = float64(s.Characters) / s.Seconds
	return s
}
