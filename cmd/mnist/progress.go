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
// about every second and when a walk through the data begins.
type progress struct {
	group  *elastic.Group
	bridge *bridge.Bridge
	shard  int // rows in a pass
	out    io.Writer

	began time.Time // of the first pass
	now   summary   // all but what finish adds

	said      time.Time // the time of the last line
	epoch     int       // of the data, at the last step
	samplesBy int       // samples until the last line
}

func newProgress(g *elastic.Group, b *bridge.Bridge, shard int, out io.Writer) *progress {
	return &progress{group: g, bridge: b, shard: shard, out: out}
}

// pass is called before each pass. The clock runs from the first one on, not
// while the peers come together.
func (p *progress) pass() {
	if p.began.IsZero() {
		p.began = time.Now()
	}
}

// step is called after each committed step with the walks through the data that
// were complete before it.
func (p *progress) step(epoch int) {
	p.look()
	p.now.Samples = int(math.Round(p.bridge.Passes() * float64(p.shard)))
	loss := p.bridge.Metric("loss")
	p.group.Observe("loss", loss)
	p.now.Loss = finite(loss)
	due := p.said.IsZero() || epoch > p.epoch || time.Since(p.said) >= time.Second
	p.epoch = epoch
	if p.now.Rank == 0 && due {
		p.say()
	}
}

// look notes where this peer is. At the end it is too late: the others leave.
func (p *progress) look() {
	p.now.Rank, p.now.Size, p.now.Epoch = p.group.Rank(), p.group.Size(), p.group.Epoch()
	p.now.Steps, p.now.Retries = p.group.Steps(), p.group.Retries()
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
	fmt.Fprintf(p.out, "epoch %d  step %d  loss %.4f  %.0f samples/s  %d %s\n", p.epoch+1, p.now.Steps,
		p.bridge.Metric("loss"), float64(p.now.Samples-p.samplesBy)/since(from), p.now.Size, peers)
	p.said, p.samplesBy = time.Now(), p.now.Samples
}

// summary is called when training is over.
func (p *progress) summary() summary {
	p.now.Drained = p.group.Drained()
	if p.began.IsZero() {
		p.look() // this peer came too late for any step
		return p.now
	}
	if p.now.Rank == 0 && p.now.Samples > p.samplesBy {
		p.say()
	}
	s := p.now
	s.Seconds = since(p.began)
	s.SamplesPerSecond = float64(s.Samples) / s.Seconds
	return s
}
