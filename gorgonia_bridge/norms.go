package bridge

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/ringrun/ringrun/allreduce"
	"github.com/ringrun/ringrun/elastic"
)

// KeepNorms looks after the running statistics of the BatchNorm nodes of a graph:
// in each step they become the means over all peers, weighted like the gradient,
// and newcomers get them. Without it each peer has its own, and a newcomer those
// of an untrained model.
//
// It is called after gorgonia.NewTapeMachine, which resets them, and before the
// first Shards or Step. While training, each pass is normalised by the statistics
// of its own rows, as in most systems; rows that are empty count as zeros there.
// The variance is the mean of the peers' variances. A step that makes a statistic
// not finite leaves it as it was before.
func (b *Bridge) KeepNorms(g *gorgonia.ExprGraph) error {
	n, err := newNorms(g)
	if err != nil {
		return err
	}
	if err := b.Keep("batch norm statistics", n); err != nil {
		return err
	}
	b.group.(*keeper).norms = n
	return nil
}

// CopyNorms gives the BatchNorm nodes of one graph the running statistics of
// another that is built alike: of the one that evaluates, after its machine was
// made, those of the one that trains. (A machine with gorgonia.EvalMode on the
// training graph itself would stop it from training.)
func CopyNorms(to, from *gorgonia.ExprGraph) error {
	a, err := newNorms(to)
	if err != nil {
		return err
	}
	b, err := newNorms(from)
	if err != nil {
		return err
	}
	if len(a.kept) != len(b.kept) || len(a.ops) != len(b.ops) {
		return fmt.Errorf("bridge: %d BatchNorm nodes with %d statistics, want %d with %d", len(b.ops), len(b.kept), len(a.ops), len(a.kept))
	}
	copy(a.kept, b.kept)
	a.restore()
	return nil
}

// Statistics are those of one node.
type statistics interface {
	Stats() (mean, variance tensor.Tensor)
}

// Norms are the running statistics of a graph.
type norms struct {
	ops     []statistics
	kept    []float64 // after the last committed step: of each node the means, then the variances
	reduced []float64 // the same of the step that is being committed
}

func newNorms(g *gorgonia.ExprGraph) (*norms, error) {
	n := &norms{}
	for _, node := range g.AllNodes() {
		switch op := node.Op().(type) {
		case *gorgonia.BatchNormOp:
			n.ops = append(n.ops, op)
		case *SyncNormOp:
			n.ops = append(n.ops, op)
		}
	}
	if len(n.ops) == 0 {
		return nil, errors.New("bridge: the graph has no BatchNorm node")
	}
	n.each(func(a array) {
		for i := range a.len() {
			n.kept = append(n.kept, a.element(i))
		}
	})
	n.reduced = make([]float64, len(n.kept))
	return n, nil
}

// each visits the memory of the statistics in order.
func (n *norms) each(f func(array)) {
	for _, op := range n.ops {
		mean, variance := op.Stats()
		for _, t := range []tensor.Tensor{mean, variance} {
			a, err := arrayOf(t)
			if err != nil {
				panic(fmt.Sprintf("bridge: a statistic of BatchNorm %v", err))
			}
			f(a)
		}
	}
}

// element returns element i, whatever the type.
func (a array) element(i int) float64 {
	if a.f64 != nil {
		return a.f64[i]
	}
	return float64(a.f32[i])
}

// setElement is its opposite.
func (a array) setElement(i int, x float64) {
	if a.f64 != nil {
		a.f64[i] = x
		return
	}
	a.f32[i] = float32(x)
}

// reduce computes the means over all peers.
func (n *norms) reduce(ctx context.Context, c *allreduce.Comm, w elastic.Weights) error {
	i, share := 0, w.Mine/w.Total
	n.each(func(a array) {
		for j := range a.len() {
			n.reduced[i] = 0
			if share > 0 { // else there may be anything
				n.reduced[i] = share * a.element(j)
			}
			i++
		}
	})
	if c.Size() == 1 {
		return nil
	}
	return c.AllReduce(ctx, allreduce.Of(n.reduced), allreduce.Sum)
}

// commit takes over what was reduced.
func (n *norms) commit() {
	for i, x := range n.reduced {
		if !math.IsNaN(x) && !math.IsInf(x, 0) {
			n.kept[i] = x
		}
	}
	n.restore()
}

// restore gives the nodes what is kept, rounded to their type, and keeps that.
func (n *norms) restore() {
	i := 0
	n.each(func(a array) {
		for j := range a.len() {
			a.setElement(j, n.kept[i])
			n.kept[i] = a.element(j)
			i++
		}
	})
}

// Save writes what is kept, not what passes have made of it since.
func (n *norms) Save(w io.Writer) error {
	var b []byte
	for _, x := range n.kept {
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(x))
	}
	_, err := w.Write(b)
	return err
}

// Load takes over what Save wrote for a graph like this one.
func (n *norms) Load(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if len(b) != 8*len(n.kept) {
		return fmt.Errorf("%d bytes of statistics, want %d", len(b), 8*len(n.kept))
	}
	for i := range n.kept {
		n.kept[i] = math.Float64frombits(binary.LittleEndian.Uint64(b[8*i:]))
	}
	n.restore()
	return nil
}

// Commit is that of the group, with the statistics on top of the gradients.
func (k *keeper) Commit(ctx context.Context, reduce func(*allreduce.Comm, elastic.Weights) error, apply func() error) (bool, error) {
	n := k.norms
	if n == nil {
		return k.group.Commit(ctx, reduce, apply)
	}
	counted, err := k.group.Commit(ctx, func(c *allreduce.Comm, w elastic.Weights) error {
		if err := reduce(c, w); err != nil {
			return err
		}
		return n.reduce(ctx, c, w)
	}, func() error {
		if err := apply(); err != nil {
			return err
		}
		n.commit()
		return nil
	})
	if !counted {
		n.restore()
	}
	return counted, err
}
