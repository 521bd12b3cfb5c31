package bridge

import (
	"context"
	"time"

	"github.com/ringrun/ringrun/allreduce"
	"github.com/ringrun/ringrun/elastic"
)

// A flight is the buckets of one step that are on their way on one communicator.
type flight struct {
	comm    *allreduce.Comm // nil: none
	weights elastic.Weights
	works   []*allreduce.Work // of the first buckets, in order; then the tail
	began   []time.Time       // each of them
	redo    bool              // gradients have changed since
}

// open reports whether buckets may be started.
func (f *flight) open() bool { return f.comm != nil && !f.redo && f.comm.Size() > 1 }

// start sends from on its way, times by; the sum over all peers comes to x.
func (f *flight) start(x, from allreduce.Vector, by float64) {
	f.began = append(f.began, time.Now())
	f.works = append(f.works, f.comm.StartInto(x, from, allreduce.Sum, by))
}

// wait waits for all works, whatever becomes of each: until then their memory
// belongs to the communicator.
func (f *flight) wait(ctx context.Context) error {
	var first error
	for _, w := range f.works {
		if err := w.Wait(ctx); err != nil && first == nil {
			first = err
		}
	}
	return first
}

// landed reports whether all works have ended.
func (f *flight) landed() bool {
	for _, w := range f.works {
		select {
		case <-w.Done():
		default:
			return false
		}
	}
	return true
}

// openFlight asks the group, when the first gradient of a pass is complete,
// whether the step may be begun.
func (b *Bridge) openFlight() {
	if b.flight.comm != nil || b.asked || b.quiet || b.serial || !b.flight.landed() {
		return
	}
	b.asked = true
	if c, w, ok := b.group.Early(); ok {
		b.board(c, w)
	}
}

// board begins a flight on c. If there is one on another communicator, its
// works have ended or soon will: that one is of no more use.
func (b *Bridge) board(c *allreduce.Comm, w elastic.Weights) {
	_ = b.flight.wait(context.Background()) // what they say does not matter
	b.flight = flight{comm: c, weights: w, works: b.flight.works[:0], began: b.flight.began[:0]}
	if c != b.measured && b.cutBy != b.plan {
		b.cut(b.plan)
	}
}

// launchReady starts the buckets that are complete, in order.
func (b *Bridge) launchReady() {
	for b.flight.open() && len(b.flight.works) < len(b.buckets) && b.missing[len(b.flight.works)] == 0 {
		b.launch(len(b.flight.works))
	}
}

// launch starts bucket k. If all of it is at home, it is reduced from there:
// nothing is copied.
func (b *Bridge) launch(k int) {
	bucket, w := b.buckets[k], b.flight.weights
	to := b.means().bucket(bucket)
	from := to
	switch {
	case w.Mine == 0:
		to.zero()
	case b.isHome(bucket):
		from = b.arenas[b.home].bucket(bucket)
	default:
		for _, s := range bucket.parts {
			b.means().part(s).copyFrom(b.local(&b.grads[s.param]))
		}
	}
	b.flight.start(to.vector(), from.vector(), 1/w.Total)
}

// isHome reports whether what this peer contributes to a bucket is all at home.
func (b *Bridge) isHome(k bucket) bool {
	for _, s := range k.parts {
		if g := &b.grads[s.param]; g.fires == 0 && !g.atHome {
			return false
		}
	}
	return true
}

// means is the arena that is not home.
func (b *Bridge) means() arena { return b.arenas[1-b.home] }

// reduce leaves the mean over all peers in the arena of the means and in the
// tail, and what it was made of untouched: when the ring breaks, it is called
// again with the next one.
func (b *Bridge) reduce(ctx context.Context, c *allreduce.Comm, w elastic.Weights) error {
	from := time.Now()
	if b.flight.comm != c {
		b.board(c, w)
	}
	if c.Size() == 1 {
		return nil // see deliver
	}
	b.settle()
	if !b.flight.redo {
		for k := len(b.flight.works); k < len(b.buckets); k++ {
			b.launch(k)
		}
	}
	err := b.finish(ctx, from)
	if err == nil && c != b.measured {
		err = b.measure(ctx, c)
	}
	return err
}

// finish starts the tail and waits for everything. If a peer has changed its
// gradients since it started, then all reduce them once more. That peer may not
// have started every bucket; it does so now, whatever is in them.
func (b *Bridge) finish(ctx context.Context, from time.Time) error {
	f := &b.flight
	for k := len(f.works); k < len(b.buckets); k++ {
		v := b.means().bucket(b.buckets[k]).vector()
		f.start(v, v, 1/f.weights.Total)
	}
	b.tail.pack(b, f.weights, f.redo)
	tail := allreduce.Of(b.tail.values)
	f.start(tail, tail, 1)
	err := f.wait(ctx)
	if err == nil {
		b.stats.flew(f, from)
	}
	if err != nil || !b.tail.redo() {
		return err
	}
	b.stats.Redone++
	c, w := f.comm, f.weights
	b.board(c, w)
	for k := range b.buckets {
		b.launch(k)
	}
	return b.flight.wait(ctx)
}
