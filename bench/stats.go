package bench

import (
	"slices"
	"time"
)

// quantile returns the value below which the share q of v lies; 0 of nothing.
func quantile(v []time.Duration, q float64) time.Duration {
	if len(v) == 0 {
		return 0
	}
	v = slices.Sorted(slices.Values(v))
	return v[int(q*float64(len(v)-1)+0.5)]
}

// A spread sums up the durations of several rounds.
type spread struct {
	Median, Min, P99, Mean time.Duration // of all operations of all rounds
	Low, High              time.Duration // least and greatest median of a round
}

func spreadOf(rounds [][]time.Duration) spread {
	all := slices.Concat(rounds...)
	if len(all) == 0 {
		return spread{}
	}
	var medians []time.Duration
	for _, r := range rounds {
		medians = append(medians, quantile(r, 0.5))
	}
	var sum time.Duration
	for _, d := range all {
		sum += d
	}
	return spread{
		Median: quantile(all, 0.5),
		Min:    slices.Min(all),
		P99:    quantile(all, 0.99),
		Mean:   sum / time.Duration(len(all)),
		Low:    slices.Min(medians),
		High:   slices.Max(medians),
	}
}

// A span is a stretch of time, counted from some common start.
type span struct{ from, to time.Duration }

// covered returns how much time lies in at least one of the spans.
func covered(spans []span) time.Duration {
	spans = slices.SortedFunc(slices.Values(spans), func(a, b span) int { return int(a.from - b.from) })
	var sum, end time.Duration
	for i, s := range spans {
		if i == 0 || s.from > end {
			end = s.from
		}
		if s.to > end {
			sum += s.to - end
			end = s.to
		}
	}
	return sum
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
