package elastic

import (
	"encoding/json"
	"maps"
	"math"
	"slices"
	"time"
)

const (
	historyEvery = time.Second
	historySize  = 600
	historyCalm  = 3 // times what a step takes: then none is under way that will end soon
)

// A Point is how a run went for about a second, or for a step that took longer.
type Point struct {
	Time     int64             `json:"time"` // of its end: milliseconds since 1970, by the peer's clock
	Step     uint64            `json:"step"`
	Steps    float64           `json:"steps"`   // by the second
	Samples  float64           `json:"samples"` // likewise, of all peers
	Observed map[string]Number `json:"observed,omitempty"`
}

// A Number may be one that JSON does not know; it is null then.
type Number float64

// MarshalJSON implements [json.Marshaler].
func (n Number) MarshalJSON() ([]byte, error) {
	if f := float64(n); math.IsNaN(f) || math.IsInf(f, 0) {
		return []byte("null"), nil
	}
	return json.Marshal(float64(n))
}

// UnmarshalJSON implements [json.Unmarshaler].
func (n *Number) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		*n = Number(math.NaN())
		return nil
	}
	return json.Unmarshal(b, (*float64)(n))
}

// A history holds the last points. Its methods are called with the mu of its tally
// held.
type history struct {
	points  []Point
	at      time.Time // of the last one; at first, of the first step
	steps   uint64    // since then
	samples uint64    // of the tally at that time
}

// step is called after each step.
func (h *history) step(now time.Time, t *tally) {
	if h.at.IsZero() { // what was before the first step is no pace
		h.at, h.samples = now, t.samples
		return
	}
	h.steps++
	if now.Sub(h.at) >= historyEvery {
		h.add(now, t)
	}
}

// look is called when somebody asks: that nothing happens is worth a point, too.
func (h *history) look(now time.Time, pace time.Duration, t *tally) {
	if !h.at.IsZero() && now.Sub(h.at) >= max(historyEvery, historyCalm*pace) {
		h.add(now, t)
	}
}

func (h *history) add(now time.Time, t *tally) {
	took := now.Sub(h.at).Seconds()
	if len(h.points) == historySize {
		h.points = slices.Delete(h.points, 0, 1)
	}
	h.points = append(h.points, Point{
		Time: now.UnixMilli(), Step: t.lastStep, Steps: float64(h.steps) / took,
		Samples: float64(t.samples-h.samples) / took, Observed: numbers(t.observed),
	})
	h.at, h.steps, h.samples = now, 0, t.samples
}

// after returns the points that are later than a time.
func (h *history) after(ms int64) []Point {
	i := slices.IndexFunc(h.points, func(p Point) bool { return p.Time > ms })
	if i < 0 {
		return nil
	}
	return slices.Clone(h.points[i:])
}

func numbers(m map[string]float64) map[string]Number {
	if len(m) == 0 {
		return nil
	}
	out := make(map[string]Number, len(m))
	for name, v := range maps.All(m) {
		out[name] = Number(v)
	}
	return out
}
