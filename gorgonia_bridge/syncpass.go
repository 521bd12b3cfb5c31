package bridge

import (
	"context"
	"errors"

	"github.com/ringrun/ringrun/allreduce"
)

// ErrPasses reports that peers cannot hold batch statistics over all of them,
// because they do not run equally many passes in a step.
var ErrPasses = errors.New("bridge: batch statistics over all peers need one pass at a time on each of them")

// passGroup is what SyncBatchNorm needs of an elastic.Group.
type passGroup interface {
	BindPasses()
	Pass() (c *allreduce.Comm, samples int, err error)
	Again(ctx context.Context, err error) bool
}

// syncNorms connects the SyncBatchNorm nodes of the parameters' graphs.
func (b *Bridge) syncNorms() error {
	b.syncs = b.syncs[:0]
	for _, g := range graphsOf(b.params) {
		for _, n := range g.AllNodes() {
			if op, ok := n.Op().(*SyncNormOp); ok {
				op.bridge, op.ran = b, false
				b.syncs = append(b.syncs, op)
			}
		}
	}
	if len(b.syncs) == 0 {
		return nil
	}
	g, ok := b.passGroup()
	if !ok {
		return errors.New("bridge: this group has no collectives inside passes, which SyncBatchNorm needs")
	}
	g.BindPasses()
	return nil
}

func (b *Bridge) passGroup() (passGroup, bool) {
	g := b.group
	if k, ok := g.(*keeper); ok {
		g = k.group
	}
	p, ok := g.(passGroup)
	return p, ok
}

// inPass returns what collectives inside a pass need, and keeps the error.
func (b *Bridge) inPass() (c *allreduce.Comm, samples int, err error) {
	g, ok := b.passGroup()
	if !ok || b.quiet {
		return nil, 0, ErrPasses
	}
	c, samples, b.passErr = g.Pass()
	return c, samples, b.passErr
}

// syncRows returns how many of the rows of this pass are not empty.
func (b *Bridge) syncRows(rows int) (int, error) {
	_, samples, err := b.inPass()
	if err != nil || samples < 0 {
		return rows, err
	}
	return min(samples, rows), nil
}

// syncMoments replaces this peer's moments by those of all peers. Each peer puts
// its own where the others have zeros, and all merge them in rank order: that
// loses no digits, and is the same everywhere.
func (b *Bridge) syncMoments(m *moments) error {
	c, _, err := b.inPass()
	if err != nil || c.Size() == 1 {
		return err
	}
	mine := m.numbers()
	all := make([]float64, c.Size()*len(mine))
	copy(all[c.Rank()*len(mine):], mine)
	if err := b.sumInPass(c, all); err != nil {
		return err
	}
	merged := momentsFrom(make([]float64, len(mine)))
	for i := range c.Size() {
		merged.merge(momentsFrom(all[i*len(mine) : (i+1)*len(mine)]))
	}
	*m = merged
	return nil
}

// syncSums adds those of all peers up.
func (b *Bridge) syncSums(sums []float64) error {
	c, _, err := b.inPass()
	if err != nil || c.Size() == 1 {
		return err
	}
	return b.sumInPass(c, sums)
}

func (b *Bridge) sumInPass(c *allreduce.Comm, x []float64) error {
	b.passErr = c.AllReduce(context.Background(), allreduce.Of(x), allreduce.Sum)
	return b.passErr
}

// Again reports whether RunAll, which returned err, is to be called again because
// a peer was lost in the middle of a pass with SyncBatchNorm. Then the gradients
// of this step are forgotten, on all peers that are left; the loop resets the
// machine and goes on with what Shards gives, or, without Shards, with the same
// samples.
func (b *Bridge) Again(err error) bool {
	g, ok := b.passGroup()
	if err == nil || b.passErr == nil || !ok {
		return false
	}
	lost := b.passErr
	b.dropPass()
	return g.Again(context.Background(), lost)
}

// dropPass is Forget after a ring has broken: what was started on it has ended.
func (b *Bridge) dropPass() {
	b.Forget()
	_ = b.flight.wait(context.Background())
	b.flight.comm, b.flight.redo = nil, false
	b.passErr = nil
	if k, ok := b.group.(*keeper); ok && k.norms != nil {
		k.norms.restore()
	}
}
