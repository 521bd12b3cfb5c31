package plan

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// limit says what keeps a step from being quicker.
func (s Setup) limit(p Prediction, compute float64) string {
	exposed, step := p.Exposed.Seconds(), p.Step.Seconds()
	comm, backward := p.Comm.Seconds(), compute*(1-s.Forward)
	switch {
	case s.Peers == 1:
		return "computation: nobody else takes part"
	case exposed < 0.02*step && s.Jitter > 0 && p.Efficiency < 0.97:
		return "the slowest peer of each step, for which the others wait"
	case exposed < 0.02*step:
		return "computation: communication is hidden behind it"
	case p.latency > comm/2:
		return fmt.Sprintf("latency: %v of communication are steps of messages, not bytes", round(seconds(p.latency)))
	case s.Late:
		return fmt.Sprintf("bandwidth: %s leave each host in a step, and nothing is hidden", size(p.Wire))
	case comm > backward:
		return fmt.Sprintf("bandwidth: %s leave each host in a step, which takes %v, and the backward pass hides at most %v of that",
			size(p.Wire), round(p.Comm), round(seconds(backward)))
	}
	return fmt.Sprintf("the end: %v of communication are left when the backward pass has ended, because the last gradients are many", round(p.Exposed))
}

func size(bytes float64) string {
	switch {
	case bytes >= 1e9:
		return fmt.Sprintf("%.2f GB", bytes/1e9)
	case bytes >= 1e6:
		return fmt.Sprintf("%.1f MB", bytes/1e6)
	}
	return fmt.Sprintf("%.0f kB", bytes/1e3)
}

// round leaves three digits or so.
func round(d time.Duration) time.Duration {
	for unit := time.Duration(1); ; unit *= 10 {
		if d < 1000*unit {
			return d.Round(unit)
		}
	}
}

// An Advice is something to change, and what comes of it.
type Advice struct {
	What  string     `json:"what"`
	Needs string     `json:"needs"` // what else it changes
	Then  Prediction `json:"then"`
	Gain  float64    `json:"gain"` // in efficiency
}

// leastGain is what is worth a line.
const leastGain = 0.01

// Advice returns what would help, the most helpful first.
func (s Setup) Advice() ([]Advice, error) {
	s = s.withDefaults()
	if err := s.validate(); err != nil {
		return nil, err
	}
	now := s.predict()
	var all []Advice
	try := func(what, needs string, change func(s *Setup)) {
		t := s
		change(&t)
		then := t.predict()
		if gain := then.Efficiency - now.Efficiency; gain >= leastGain {
			all = append(all, Advice{what, needs, then, gain})
		}
	}
	if s.Codec == "raw" {
		try("-codec half", "gradients are rounded to 16 bits", func(t *Setup) { t.Codec = "half" })
	}
	if s.Late {
		try("overlap with the backward pass", "Bridge.VM in Gorgonia; else Comm.Start for each bucket", func(t *Setup) { t.Late = false })
	}
	try("twice the batch of each peer", "half as many steps for the same samples; mind the learning rate", func(t *Setup) {
		t.Compute *= 2
		t.Batch *= 2
	})
	for _, b := range []int{1 << 20, 4 << 20} {
		if b > s.Bucket {
			try(fmt.Sprintf("buckets of %d MiB", b>>20), "the first as large as now", func(t *Setup) { t.Bucket = b })
		}
	}
	if s.Peers > s.Slots {
		try("links of twice the bandwidth", "", func(t *Setup) { t.Link.Bandwidth *= 2 })
		try("links of half the latency", "", func(t *Setup) { t.Link.Latency /= 2 })
		try("twice as many peers on each host", "processors for them", func(t *Setup) { t.Slots *= 2 })
	}
	slices.SortStableFunc(all, func(a, b Advice) int { return cmp.Compare(b.Gain, a.Gain) })
	return all, nil
}
