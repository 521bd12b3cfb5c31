// Package bridge lets an ordinary Gorgonia training loop run on a group of
// peers. The loop stays as it is; three lines join it to the others:
//
//	b, err := bridge.Attach(g, params, bridge.Average("loss", &loss)) // new
//	solver := b.Solver(gorgonia.NewAdamSolver())                      // wrapped
//	for shard, err := range g.Shards(ctx, samples) {                  // this peer's part
//		… let x and y have the rows of shard.Samples, and zeros in the rest …
//		vm.RunAll()
//		solver.Step(gorgonia.NodesToValueGrads(params))
//		vm.Reset()
//	}
//
// Step adds up the gradients of all passes and all peers, divides by the passes
// that went into them, and lets the inner solver apply the result. So a loss
// that is the mean over the rows of one pass yields the mean over the global
// batch, for any number of peers.
//
// It works with the tape machine, with or without BindDualValues, and with the
// Lisp machine. Dropout masks and batch statistics stay each peer's own.
package bridge

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"

	"gorgonia.org/gorgonia"

	"github.com/ringrun/ringrun/allreduce"
	"github.com/ringrun/ringrun/elastic"
)

// The first bucket is small, so that the ring is busy early.
const (
	firstBucketBytes = 1 << 20
	bucketBytes      = 8 << 20
)

// A Bridge connects the parameters of one graph with a group. It is an
// elastic.State: what it saves is the parameters and what the solver keeps
// between steps. Its methods are for the goroutine that trains.
type Bridge struct {
	group   group
	params  []param
	metrics []*metric
	plan    *allreduce.Plan
	grads   []gradient // one per parameter

	solver    gorgonia.Solver // the inner one; nil before Solver
	solverErr error           // why it cannot be used

	passes float64
}

// group is what a Bridge needs of an elastic.Group.
type group interface {
	SetState(elastic.State)
	SetDigest(mine []byte, check func(ids []string, all [][]byte) error)
	Accumulating() bool
	Commit(ctx context.Context, reduce func(*allreduce.Comm, elastic.Weights) error, apply func() error) (bool, error)
}

// An Option changes how a Bridge works.
type Option func(*options)

type options struct {
	metrics           []*metric
	firstBytes, bytes int
}

// BucketBytes sets how much memory travels together: in the first bucket, and in
// each of the others. The default is 1 MiB and 8 MiB. It must be the same on all
// peers.
func BucketBytes(first, others int) Option {
	return func(o *options) { o.firstBytes, o.bytes = first, others }
}

// Attach joins the parameters of a graph to a group: at the start of training
// all peers get the parameters and the solver state of one of them, and so does
// whoever comes later. It is called before the first Shards. Parameters need
// values, names of their own, contiguous memory, and type float32 or float64;
// the error names the one that does not fit. Two peers whose parameters differ
// in name, shape or type cannot train together: elastic.Run fails on all of
// them, with one error that names the parameter and both shapes.
func Attach(g *elastic.Group, params gorgonia.Nodes, opts ...Option) (*Bridge, error) {
	return attach(g, params, opts...)
}

func attach(g group, nodes gorgonia.Nodes, opts ...Option) (*Bridge, error) {
	o := options{firstBytes: firstBucketBytes, bytes: bucketBytes}
	for _, opt := range opts {
		opt(&o)
	}
	params, err := newParams(nodes)
	if err != nil {
		return nil, err
	}
	b := &Bridge{group: g, params: params, metrics: o.metrics, grads: make([]gradient, len(params))}
	specs := make([]allreduce.Spec, 0, len(params)+len(b.metrics))
	for _, p := range params {
		specs = append(specs, allreduce.Spec{Name: p.name, Type: newArray(p.dtype, 0).vector().Type(), Len: p.len})
	}
	for _, m := range b.metrics {
		specs = append(specs, allreduce.Spec{Name: "average " + m.name, Type: allreduce.Float64, Len: 1})
	}
	if b.plan, err = allreduce.NewPlan(specs, o.firstBytes, o.bytes); err != nil {
		return nil, fmt.Errorf("bridge: %w", err)
	}
	g.SetState(b)
	b.describe()
	return b, nil
}

// describe gives the group what it compares with the other peers.
func (b *Bridge) describe() { b.group.SetDigest(b.digest().encode(), compareDigests) }

// WriteParams writes the parameters in order, each as its elements in the order
// of memory, little-endian.
func (b *Bridge) WriteParams(w io.Writer) error {
	for _, p := range b.params {
		_, a, err := p.value()
		if err != nil {
			return err
		}
		if err := a.writeTo(w); err != nil {
			return fmt.Errorf("bridge: write parameter %q: %w", p.name, err)
		}
	}
	return nil
}

// ParamsHash returns the SHA-256, in hexadecimal, of what WriteParams writes.
// After the same step it is the same on all peers. It panics when a parameter
// has lost its value.
func (b *Bridge) ParamsHash() string {
	h := sha256.New()
	if err := b.WriteParams(h); err != nil {
		panic(err.Error())
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Passes returns how many full passes, over all peers, went into the steps that
// this peer has committed. Times the rows of a pass it is the number of samples.
func (b *Bridge) Passes() float64 { return b.passes }
