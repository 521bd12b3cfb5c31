package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/ringrun/ringrun/bench/plan"
	"github.com/ringrun/ringrun/elastic"
	"github.com/urfave/cli/v3"
)

// observeTime is how long a run is watched.
const observeTime = 3 * time.Second

// observed is what was measured of a run, and what the model says of it.
type observed struct {
	Peers     int           `json:"peers"`
	Steps     uint64        `json:"steps"`
	Step      time.Duration `json:"step_ns"`
	Predicted time.Duration `json:"predicted_ns"`
}

func (o *observed) print(w io.Writer) {
	fmt.Fprintf(w, "the run of %s takes %v a step (%d steps seen); the model says %v for it, %+.0f %%\n",
		count(o.Peers, "peer"), milli(o.Step), o.Steps, milli(o.Predicted), 100*(o.Predicted.Seconds()/o.Step.Seconds()-1))
}

// observe fills in what a run that goes on tells: what a step takes one peer, what
// it sends, and what its links carry.
func (p *forecast) observe(ctx context.Context, c *cli.Command, addr string) error {
	a, err := newAsker(c, addr)
	if err != nil {
		return err
	}
	before, err := a.all(ctx)
	if err != nil {
		return err
	}
	select {
	case <-time.After(observeTime):
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	after, err := a.all(ctx)
	if err != nil {
		return err
	}
	return p.compare(before, after, observeTime)
}

// compare takes the differences of two looks at the same peers.
func (p *forecast) compare(before, after []answer, took time.Duration) error {
	if len(before) != len(after) {
		return fmt.Errorf("-from: peers have come or gone meanwhile: %d, then %d", len(before), len(after))
	}
	n := len(after)
	var compute, update, sent []float64
	var steps uint64
	for i, b := range after {
		a := before[i]
		if a.err != nil || b.err != nil || a.ID != b.ID || a.Epoch != b.Epoch || b.Steps <= a.Steps {
			return fmt.Errorf("-from: %s made no step in %v, or the view has changed: try again", b.peer.ID, took)
		}
		steps = b.Steps - a.Steps
		per := func(of elastic.Phase) float64 { return (b.Spent[of] - a.Spent[of]) / float64(steps) }
		compute, update = append(compute, per(elastic.Computing)), append(update, per(elastic.Applying))
		sent = append(sent, float64(b.Sent-a.Sent)/float64(steps))
	}
	s := &p.Setup
	s.Peers, s.Codec = n, after[0].Codec
	s.Compute, s.Update = ofSeconds(slices.Max(compute)), ofSeconds(slices.Max(update))
	if n > 1 {
		share := map[string]float64{"half": 0.5}[s.Codec]
		if share == 0 {
			share = 1
		}
		s.Params = int(slices.Max(sent) * float64(n) / (2 * float64(n-1)) / float64(s.Width) / share)
	}
	p.Run = &observed{Peers: n, Steps: steps, Step: took / time.Duration(steps)}
	if link := after[0].Link; link != nil {
		s.Link = plan.Link{Latency: ofSeconds(link.Latency), Bandwidth: link.Bandwidth}
	} else {
		s.Slots = max(s.Slots, n) // they share memory
	}
	now := *s
	now.Jitter = 0 // it is in what was measured
	if r, err := now.Predict(); err == nil {
		p.Run.Predicted = r.Step
	}
	return nil
}

func ofSeconds(x float64) time.Duration { return time.Duration(x * float64(time.Second)) }
