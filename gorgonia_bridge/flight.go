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

func (f *flight) start(x allreduce.Vector) {
	f.began = append(f.began, time.Now())
	f.works = append(f.works, f.comm.Start(x, allreduce.Sum))
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
	for i := range b.grads {
		b.grads[i].packed = false
	}
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

// launch starts bucket k.
func (b *Bridge) launch(k int) {
	for _, s := range b.buckets[k].parts {
		if g := &b.grads[s.param]; !g.packed {
			b.pack(g, b.flight.weights)
		}
	}
	b.flight.start(b.means().bucket(b.buckets[k]).vector())
}

// means is the arena that is not home.
func (b *Bridge) means() arena { return b.arenas[1-b.home] }

// pack puts this peer's share of the mean where it will be reduced. It is scaled
// before it is summed, so that a codec of a narrow range does not overflow.
func (b *Bridge) pack(g *gradient, w elastic.Weights) {
	to := b.means().part(g.place)
	if g.packed = true; w.Mine == 0 {
		to.zero()
		return
	}
	to.scaled(b.local(g), 1/w.Total)
}

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
		f.start(b.means().bucket(b.buckets[k]).vector())
	}
	b.tail.pack(b, f.weights, f.redo)
	f.start(allreduce.Of(b.tail.values))
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
