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

	epoch     int       // of the data
	said      time.Time // the time of the last line
	samplesBy int       // samples until then
}

func newProgress(g *elastic.Group, b *bridge.Bridge, shard int, out io.Writer) *progress {
	return &progress{group: g, bridge: b, shard: shard, out: out}
}

// pass is called before each pass. The clock runs from the first one on, not
// while the peers come together.
func (p *progress) pass() {
	if p.began.IsZero() {
		p.began = time.Now()
		p.said = p.began
	}
}

// step is called after each committed step with the walks through the data that
// were complete before it.
func (p *progress) step(epoch int) {
	p.now.Rank, p.now.Size, p.now.Epoch = p.group.Rank(), p.group.Size(), p.group.Epoch()
	p.now.Steps = p.group.Steps()
	p.now.Samples = int(math.Round(p.bridge.Passes() * float64(p.shard)))
	p.now.Loss = finite(p.bridge.Metric("loss"))
	if p.now.Rank == 0 && (epoch > p.epoch || time.Since(p.said) >= time.Second) {
		p.say(epoch)
	}
	p.epoch = epoch
}

func (p *progress) say(epoch int) {
	rate := float64(p.now.Samples-p.samplesBy) / since(p.said)
	fmt.Fprintf(p.out, "epoch %d  step %d  loss %.4f  %.0f samples/s  %d peer(s)\n",
		epoch+1, p.now.Steps, p.bridge.Metric("loss"), rate, p.now.Size)
	p.said, p.samplesBy = time.Now(), p.now.Samples
}

// summary is called when training is over.
func (p *progress) summary() summary {
	s := p.now
	if s.Rank == 0 && s.Samples > p.samplesBy {
		p.say(p.epoch)
	}
	if !p.began.IsZero() {
		s.Seconds = since(p.began)
		s.SamplesPerSecond = float64(s.Samples) / s.Seconds
	}
	return s
}
