package bridge

import (
	"errors"
	"fmt"
	"hash"
	"hash/fnv"

	"github.com/chewxy/hm"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// SyncBatchNorm is gorgonia.BatchNorm, but normalises by the statistics of the
// rows of all peers' passes together. x has shape (rows, channels) or (rows,
// channels, height, width). scale and bias have one element for each channel,
// (1, channels) or (1, channels, 1, 1), and are made, as ones and zeros, if they
// are nil; they are parameters, to be trained like others. In a graph of which no
// parameter is attached it is like gorgonia.BatchNorm.
//
// All peers wait for each other in every such node, forward and backward. So they
// run equally many passes in a step, one machine at a time, without NoSync; Shards
// sees to that, with passes that have no samples. Rows that are empty, behind those
// of shard.Samples, are left out; without Shards all rows count.
//
// When a peer is lost in the middle of a pass, RunAll returns an error for which
// Again is true:
//
//	if err := vm.RunAll(); err != nil {
//		if b.Again(err) {
//			vm.Reset()
//			continue
//		}
//		return err
//	}
func SyncBatchNorm(x, scale, bias *gorgonia.Node, momentum, epsilon float64) (out, γ, β *gorgonia.Node, op *SyncNormOp, err error) {
	shape := x.Shape()
	if len(shape) != 2 && len(shape) != 4 {
		return nil, nil, nil, nil, fmt.Errorf("bridge: SyncBatchNorm of shape %v, want two or four dimensions", shape)
	}
	dt, ok := x.Type().(gorgonia.TensorType)
	if !ok || dt.Of != tensor.Float32 && dt.Of != tensor.Float64 {
		return nil, nil, nil, nil, fmt.Errorf("bridge: SyncBatchNorm of %v, want float32 or float64", x.Type())
	}
	of, channels := dt.Of.(tensor.Dtype), shape[1]
	each := tensor.Shape{1, channels, 1, 1}[:len(shape)]
	if scale == nil {
		scale = gorgonia.NewTensor(x.Graph(), of, len(each), gorgonia.WithShape(each...), gorgonia.WithName(x.Name()+"_γ"), gorgonia.WithInit(gorgonia.Ones()))
	}
	if bias == nil {
		bias = gorgonia.NewTensor(x.Graph(), of, len(each), gorgonia.WithShape(each...), gorgonia.WithName(x.Name()+"_β"), gorgonia.WithInit(gorgonia.Zeroes()))
	}
	op = newSyncNorm(of, len(shape), channels, momentum, epsilon)
	if out, err = gorgonia.ApplyOp(op, x); err != nil {
		return nil, nil, nil, nil, err
	}
	if out, err = gorgonia.Auto(gorgonia.BroadcastHadamardProd, scale, out); err != nil {
		return nil, nil, nil, nil, err
	}
	out, err = gorgonia.Auto(gorgonia.BroadcastAdd, out, bias)
	return out, scale, bias, op, err
}

// A SyncNormOp is the node of SyncBatchNorm that subtracts the mean and divides by
// the deviation.
type SyncNormOp struct {
	momentum, epsilon float64
	dims              int
	mean, variance    *tensor.Dense // running
	training          bool

	bridge *Bridge // nil: alone
	batch  moments // of the last pass
	rows   int     // of this peer that were in it
	ran    bool    // in this pass
}

func newSyncNorm(dt tensor.Dtype, dims, channels int, momentum, epsilon float64) *SyncNormOp {
	op := &SyncNormOp{momentum: momentum, epsilon: epsilon, dims: dims, training: true,
		mean: tensor.New(tensor.Of(dt), tensor.WithShape(channels)), variance: tensor.New(tensor.Of(dt), tensor.WithShape(channels))}
	op.reset()
	return op
}

func (op *SyncNormOp) reset() {
	for i := range op.mean.Len() {
		mustArray(op.mean).setElement(i, 0)
		mustArray(op.variance).setElement(i, 1)
	}
}

func mustArray(t *tensor.Dense) array {
	a, err := arrayOfDense(t)
	if err != nil {
		panic(fmt.Sprintf("bridge: a statistic %v", err)) // we made it
	}
	return a
}

// Stats returns the running mean and variance.
func (op *SyncNormOp) Stats() (mean, variance tensor.Tensor) { return op.mean, op.variance }

// SetTraining switches between the statistics of the batch and the running ones.
// Machines call it when they are made.
func (op *SyncNormOp) SetTraining(training bool) error {
	if op.training = training; training {
		op.reset()
	}
	return nil
}

// Arity is 1.
func (op *SyncNormOp) Arity() int { return 1 }

// Type is that of a function from a tensor to one like it.
func (op *SyncNormOp) Type() hm.Type {
	t := gorgonia.TensorType{Dims: op.dims, Of: hm.TypeVariable('a')}
	return hm.NewFnType(t, t)
}

// InferShape returns the shape of the input.
func (op *SyncNormOp) InferShape(in ...gorgonia.DimSizer) (tensor.Shape, error) {
	return in[0].(tensor.Shape).Clone(), nil
}

// Do normalises.
func (op *SyncNormOp) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	x, a, err := op.open(in[0])
	if err != nil {
		return nil, err
	}
	if a.f64 != nil {
		return forward(op, x, planesOf(x, a.f64))
	}
	return forward(op, x, planesOf(x, a.f32))
}

// open returns the elements of a value.
func (op *SyncNormOp) open(v gorgonia.Value) (*tensor.Dense, array, error) {
	d, ok := v.(*tensor.Dense)
	if !ok || d.Dims() != op.dims || d.Shape()[1] != op.mean.Len() || d.Dtype() != op.mean.Dtype() {
		return nil, array{}, fmt.Errorf("bridge: SyncBatchNorm of a %T %v of %v", v, v.Shape(), v.Dtype())
	}
	a, err := arrayOfDense(d)
	if err != nil {
		return nil, array{}, fmt.Errorf("bridge: what SyncBatchNorm gets %w", err)
	}
	return d, a, nil
}

func planesOf[T float](d *tensor.Dense, all []T) planes[T] {
	s := d.Shape()
	return planes[T]{all, s[0], s[1], s.TotalSize() / (s[0] * s[1])}
}

func like(d *tensor.Dense, elements any) *tensor.Dense {
	return tensor.New(tensor.WithShape(d.Shape().Clone()...), tensor.WithBacking(elements))
}

func forward[T float](op *SyncNormOp, d *tensor.Dense, x planes[T]) (gorgonia.Value, error) {
	mean, variance := mustArray(op.mean), mustArray(op.variance)
	if !op.training {
		return like(d, normalised(runningMoments(mean, variance), x, op.epsilon)), nil
	}
	var err error
	if op.rows, err = op.begin(x.rows); err != nil {
		return nil, err
	}
	op.batch = momentsOf(x, op.rows)
	if err := op.exchange(); err != nil {
		return nil, err
	}
	op.batch.follow(mean, variance, op.momentum)
	return like(d, normalised(op.batch, x, op.epsilon)), nil
}

func backward[T float](op *SyncNormOp, d *tensor.Dense, x, dy planes[T]) (gorgonia.Value, error) {
	sums := products(op.batch, x, dy, op.rows)
	if op.bridge != nil {
		if err := op.bridge.syncSums(sums); err != nil {
			return nil, err
		}
	}
	return like(d, gradientOf(op.batch, x, dy, sums, op.rows, op.epsilon)), nil
}

// begin returns how many rows count in this pass.
func (op *SyncNormOp) begin(rows int) (int, error) {
	if op.bridge == nil {
		return rows, nil
	}
	if op.ran {
		return 0, errors.New("bridge: a machine ran twice before Step, with batch statistics over all peers")
	}
	op.ran = true
	return op.bridge.syncRows(rows)
}

// exchange makes the moments of this peer's rows those of all peers'.
func (op *SyncNormOp) exchange() error {
	if op.bridge == nil {
		return nil
	}
	return op.bridge.syncMoments(&op.batch)
}

// DiffWRT says that the input has a gradient.
func (op *SyncNormOp) DiffWRT(int) []bool { return []bool{true} }

// SymDiff returns the gradient of the input.
func (op *SyncNormOp) SymDiff(in gorgonia.Nodes, _, grad *gorgonia.Node) (gorgonia.Nodes, error) {
	d, err := gorgonia.ApplyOp(&syncNormDiff{op}, in[0], grad)
	return gorgonia.Nodes{d}, err
}

// ReturnsPtr is true.
func (op *SyncNormOp) ReturnsPtr() bool { return true }

// CallsExtern is false.
func (op *SyncNormOp) CallsExtern() bool { return false }

// OverwritesInput is -1: it does not.
func (op *SyncNormOp) OverwritesInput() int { return -1 }

// WriteHash writes what makes the op different from others.
func (op *SyncNormOp) WriteHash(h hash.Hash) { fmt.Fprint(h, op.String()) }

// Hashcode returns a hash of that.
func (op *SyncNormOp) Hashcode() uint32 { return hashOf(op.String()) }

func (op *SyncNormOp) String() string {
	return fmt.Sprintf("syncnorm-%v-%v", op.momentum, op.epsilon)
}

func hashOf(s string) uint32 {
	h := fnv.New32a()
	h.Write([]byte(s))
	return h.Sum32()
}

// A syncNormDiff computes the gradient of the input from that of the output.
type syncNormDiff struct{ *SyncNormOp }

func (op *syncNormDiff) Arity() int { return 2 }

func (op *syncNormDiff) Type() hm.Type {
	t := gorgonia.TensorType{Dims: op.dims, Of: hm.TypeVariable('a')}
	return hm.NewFnType(t, t, t)
}

func (op *syncNormDiff) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	if !op.training {
		return nil, errors.New("bridge: the gradient of SyncBatchNorm that is not training")
	}
	x, a, err := op.open(in[0])
	if err != nil {
		return nil, err
	}
	_, dy, err := op.open(in[1])
	if err != nil {
		return nil, err
	}
	if a.f64 != nil {
		return backward(op.SyncNormOp, x, planesOf(x, a.f64), planesOf(x, dy.f64))
	}
	return backward(op.SyncNormOp, x, planesOf(x, a.f32), planesOf(x, dy.f32))
}

func (op *syncNormDiff) WriteHash(h hash.Hash) { fmt.Fprint(h, op.String()) }

func (op *syncNormDiff) Hashcode() uint32 { return hashOf(op.String()) }

func (op *syncNormDiff) String() string { return op.SyncNormOp.String() + "-diff" }

func (op *syncNormDiff) DiffWRT(int) []bool { return []bool{false, false} }

func (op *syncNormDiff) SymDiff(gorgonia.Nodes, *gorgonia.Node, *gorgonia.Node) (gorgonia.Nodes, error) {
	return nil, errors.New("bridge: SyncBatchNorm has no second derivative")
}
