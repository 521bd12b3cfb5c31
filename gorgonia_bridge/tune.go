package bridge

import (
	"context"
	"time"

	"github.com/ringrun/ringrun/allreduce"
)

// The plan unless the user wants another, or the links measured.
// Sums must not depend on how fast they come, so it is the same everywhere; on
// fast links half of that would do as well, and on slow ones twice would keep
// gradients waiting.
var usualPlan = plan{first: 64 << 10, others: 256 << 10}

const (
	probes     = 3
	probeBytes = 256 << 10

	leastBucket = 4 << 10
	mostBucket  = 8 << 20
	firstShare  = 8 // the first bucket has this part of the others
)

// measure finds out, once on every communicator and alike on all its peers, how
// large buckets should be. Each all-reduce costs some time at any length, and
// some for each byte; a bucket should be so large that the first is a tenth of
// it. Larger ones would only keep gradients waiting.
func (b *Bridge) measure(ctx context.Context, c *allreduce.Comm) error {
	if b.measured = c; b.fixed || len(b.places) == 0 {
		return nil
	}
	probe := make([]float32, min(probeBytes, b.arenaBytes)/4)
	times := make([]float64, 2) // of the shortest vector and of probe, in seconds
	for i, n := range []int{1, len(probe)} {
		for k := range probes + 1 {
			began := time.Now()
			if err := c.AllReduce(ctx, allreduce.Of(probe[:n]), allreduce.Sum); err != nil {
				return err
			}
			took := time.Since(began).Seconds()
			if k == 1 || k > 1 && took < times[i] { // the first waits for others to come
				times[i] = took
			}
		}
	}
	if err := c.AllReduce(ctx, allreduce.Of(times), allreduce.Sum); err != nil {
		return err
	}
	b.next = planFor(times[0], times[1], len(probe)*4)
	return nil
}

// planFor returns the plan for links where an all-reduce takes the time short at
// least, and long for so many bytes.
func planFor(short, long float64, bytes int) plan {
	others := float64(mostBucket)
	if long > short {
		others = 9 * short / (long - short) * float64(bytes)
	}
	size := int(min(max(others, leastBucket), mostBucket))
	return plan{first: size / firstShare, others: size}
}
