package allreduce

import (
	"context"
	"math"
	"slices"
	"time"
)

// Costs are the constants of the model by which a Comm chooses an algorithm. To
// all-reduce S bytes among n peers takes
//
//	steps(n)·Step + bytes(n)·(what S bytes take on a link)
//
// where Ring has 2(n-1) steps, Exchange n-1 and Dissemination log2(n), and a
// peer sends 2(n-1)/n vectors in a Ring, and n-1 in the others; with TwoLevel, where
// it depends on the hosts, both count as one. What bytes take
// contains the time to combine them, of which each algorithm has its share. It
// is less where many lie in a cache, so it is measured at several sizes, and taken
// to be straight between them.
//
// The constants are per step and byte, so that those of one number of peers
// serve for another.
type Costs [algorithms]Cost // of Ring, Exchange, …

// Cost is that of one algorithm, in nanoseconds. It is unknown if Step is 0.
type Cost struct {
	Step  float64
	Bytes [len(probes)]float64 // what so many bytes on a link take: probes[i], from the first
}

// probes are the sizes at which Tune measures.
var probes = [...]int{8, 16 << 10, 256 << 10}

// wholeBytes bounds the vectors that travel whole: every peer holds them all.
const wholeBytes = 16 << 20

func (a Algorithm) steps(n int) float64 {
	switch a {
	case Exchange:
		return float64(n - 1)
	case Dissemination:
		return math.Ceil(math.Log2(float64(n)))
	case TwoLevel:
		return 1
	}
	return float64(2 * (n - 1))
}

// vectors returns how many a peer sends.
func (a Algorithm) vectors(n int) float64 {
	switch {
	case a.whole():
		return float64(n - 1)
	case a == TwoLevel:
		return 1
	}
	return 2 * float64(n-1) / float64(n)
}

// Time predicts how long an all-reduce of so many bytes takes among n peers. All
// must predict the same, so each product is rounded by itself: some processors
// would multiply and add with one rounding.
func (k *Costs) Time(a Algorithm, n, bytes int) time.Duration {
	cost := k.of(a)
	return time.Duration(float64(a.steps(n)*cost.Step) + float64(a.vectors(n)*k.link(a, bytes)))
}

// of returns the cost of an algorithm. Where that was not measured, among two
// peers say, a whole vector costs what it does in the other algorithm of the kind.
func (k *Costs) of(a Algorithm) Cost {
	cost := k[a-Ring]
	if cost.Step == 0 && a.whole() {
		cost = k[(Exchange+Dissemination-a)-Ring]
	}
	return cost
}

// link returns what so many bytes on a link take. Beyond the largest probe a
// byte is not cheaper than it is to the Ring: it is the same link.
func (k *Costs) link(a Algorithm, bytes int) float64 {
	cost := k.of(a)
	i := 1
	for i < len(probes)-1 && bytes > probes[i] {
		i++
	}
	slope := cost.slope(i)
	if bytes > probes[i] {
		if a.whole() {
			slope = max(slope, k[0].slope(i))
		}
		return cost.Bytes[i] + float64(slope*float64(bytes-probes[i]))
	}
	return cost.Bytes[i-1] + float64(slope*float64(bytes-probes[i-1]))
}

func (c Cost) slope(i int) float64 {
	return (c.Bytes[i] - c.Bytes[i-1]) / float64(probes[i]-probes[i-1])
}

// cheapest returns the algorithm that takes the least time, the last of equals.
func (k *Costs) cheapest(among []Algorithm, n, bytes int) Algorithm {
	best := Ring
	for _, a := range among {
		if a.whole() && n*bytes > wholeBytes || k.of(a).Step == 0 {
			continue
		}
		if k.fear(a, n, bytes) <= k.fear(best, n, bytes) {
			best = a
		}
	}
	return best
}

// fear is Time, and a part more for bytes beyond the largest probe that travel
// whole: nothing overlaps there, and they leave the caches sooner.
func (k *Costs) fear(a Algorithm, n, bytes int) time.Duration {
	t := k.Time(a, n, bytes)
	if last := probes[len(probes)-1]; a.whole() && bytes > last {
		t += (t - k.Time(a, n, last)) / 4
	}
	return t
}

// Tune makes AllReduce and Start choose the algorithm by what things cost here,
// and returns that. If rank 0 gives costs, which it knows from an earlier Comm, all
// take those; if not, they measure, for tens of milliseconds if links are fast.
// Every peer must call it, between the same collectives. What the others give is
// not looked at.
func (c *Comm) Tune(ctx context.Context, known *Costs) (*Costs, error) {
	if c.size == 1 || c.board != nil { // there is nothing to choose
		return known, nil
	}
	k := new(Costs)
	if known != nil && c.rank == 0 {
		*k = *known
	}
	if err := c.shareCosts(ctx, k); err != nil {
		return nil, err
	}
	if k[0].Step == 0 {
		if err := c.measure(ctx, k); err != nil {
			return nil, err
		}
		if err := c.shareCosts(ctx, k); err != nil {
			return nil, err
		}
	}
	c.mu.Lock()
	c.costs = k
	c.mu.Unlock()
	return k, nil
}

// Costs returns what Tune has found, nil if it has not.
func (c *Comm) Costs() *Costs {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.costs
}

// Link returns what a step of the Ring takes besides its bytes, and how many bytes a
// second its links carry of large vectors.
func (k *Costs) Link() (step time.Duration, bandwidth float64) {
	last := len(probes) - 1
	return time.Duration(k[0].Step), 1e9 / max(k[0].slope(last), 1e-6)
}

// shareCosts replaces k by that of rank 0.
func (c *Comm) shareCosts(ctx context.Context, k *Costs) error {
	var flat []float64
	for _, cost := range k {
		flat = append(append(flat, cost.Step), cost.Bytes[:]...)
	}
	if err := c.Broadcast(ctx, Of(flat), 0); err != nil {
		return err
	}
	for i := range k {
		k[i].Step = flat[0]
		copy(k[i].Bytes[:], flat[1:])
		flat = flat[1+len(probes):]
	}
	return nil
}

const (
	// tuneTime is how long peers measure with one size, if a round of all algorithms
	// takes less than a part of it.
	tuneTime = 30 * time.Millisecond
	tuneFew  = 7           // operations, unless one takes longer than that
	tuneMost = 15          // operations of one size by one algorithm
	tuneSlow = time.Second // the largest size is left out if once takes longer
)

// measure times every algorithm at every probe. Operations follow each other
// without a pause, as they will; the first ones pay for what came before.
func (c *Comm) measure(ctx context.Context, k *Costs) error {
	x := newVector(Float32, slices.Max(probes[:])/4)
	c.mu.Lock()
	all := c.candidates()
	c.mu.Unlock()
	sizes, rounds, err := c.rehearse(ctx, all, x)
	if err != nil {
		return err
	}
	for _, a := range all {
		var times [len(probes)]float64
		for i := range sizes {
			if times[i], err = c.probe(ctx, a, x, i, rounds[i]); err != nil {
				return err
			}
		}
		for i := sizes; i < len(probes); i++ { // straight on
			slope := max(0, times[i-1]-times[i-2]) / float64(probes[i-1]-probes[i-2])
			times[i] = times[i-1] + slope*float64(probes[i]-probes[i-1])
		}
		k[a-Ring] = fit(a, c.size, times)
	}
	return nil
}

// rehearse does everything once, which warms it up, and returns how many probes
// are worth their time, by rank 0's clock, and how often each.
func (c *Comm) rehearse(ctx context.Context, all []Algorithm, x Vector) (sizes int, rounds [len(probes)]int, err error) {
	var took [len(probes)]time.Duration
	plan := []int32{int32(len(probes))}
	if _, err := c.probe(ctx, all[0], x, 0, 1); err != nil { // nobody else is late after that
		return 0, rounds, err
	}
	for i := 0; i < int(plan[0]); i++ {
		start := time.Now()
		for _, a := range all {
			if _, err := c.probe(ctx, a, x, i, 1); err != nil {
				return 0, rounds, err
			}
		}
		took[i] = time.Since(start)
		if i != len(probes)-2 {
			continue
		}
		more := (took[i] - took[i-1]) * time.Duration(probes[i+1]/probes[i]) // for the bytes of the last probe
		if took[i]+more > tuneSlow {
			plan[0]--
		}
		if err := c.Broadcast(ctx, Of(plan), 0); err != nil {
			return 0, rounds, err
		}
	}
	often := make([]int32, len(probes))
	for i, t := range took {
		least := time.Duration(tuneFew)
		if t > tuneTime {
			least = 2
		}
		often[i] = int32(max(least, min(tuneMost, tuneTime/max(t, 1))))
	}
	err = c.Broadcast(ctx, Of(often), 0)
	for i := range rounds {
		rounds[i] = int(often[i])
	}
	return int(plan[0]), rounds, err
}

// probe returns how long an algorithm takes for the i-th size, in nanoseconds: the
// median of some operations.
func (c *Comm) probe(ctx context.Context, a Algorithm, x Vector, i, rounds int) (float64, error) {
	var times []float64
	for range rounds {
		begin := time.Now()
		w := c.allReduce(x.Slice(0, probes[i]/4), Sum)
		w.codec = nil // without one there is a choice
		if err := c.by(a, w); err != nil {
			return 0, err
		}
		if err := c.run(ctx, w); err != nil {
			return 0, err
		}
		times = append(times, float64(time.Since(begin)))
	}
	times = times[rounds/2:]
	slices.Sort(times)
	return times[len(times)/2], nil
}

// fit returns the cost that explains the times.
func fit(a Algorithm, n int, took [len(probes)]float64) (cost Cost) {
	cost.Step = max(1, took[0]/a.steps(n))
	for i := range took {
		if i > 0 {
			took[i] = max(took[i], took[i-1])
		}
		cost.Bytes[i] = (took[i] - took[0]) / a.vectors(n)
	}
	return cost
}
