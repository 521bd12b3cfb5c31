package blas

import (
	"slices"
	"sync"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Engine is Gorgonia's standard engine, except that transposing contiguous
// tensors and comparing them with a scalar by ≥, which is half of Rectify, take
// loops instead of an iterator and a branch for each element, and that adding and
// multiplying them element by element take vectors. All results are the standard
// engine's, bit for bit. Give it to a machine with gorgonia.WithEngine, or embed
// it where a gorgonia.StandardEngine would be.
type Engine struct{ gorgonia.StandardEngine }

// Transpose moves the elements of a, of which shape and strides are those after
// the transpose already, into their new order.
func (e Engine) Transpose(a tensor.Tensor, expStrides []int) error {
	if d := plain(a); d != nil && permutes(d.Shape(), d.Strides(), d.DataSize()) {
		switch d.Dtype() {
		case tensor.Float32:
			permuteInPlace(d.Float32s(), d.Shape(), d.Strides(), &scratch32, best.turn)
			return nil
		case tensor.Float64:
			permuteInPlace(d.Float64s(), d.Shape(), d.Strides(), &scratch64, turn[float64])
			return nil
		}
	}
	return e.StandardEngine.Transpose(a, expStrides)
}

// plain returns a as a tensor in row-major order with no mask, in memory that we
// can reach; or nil.
func plain(a tensor.Tensor) *tensor.Dense {
	d, ok := a.(*tensor.Dense)
	if !ok || !d.IsNativelyAccessible() || d.IsMasked() || d.DataOrder().IsColMajor() {
		return nil
	}
	return d
}

// permutes tells whether the strides reach each of n elements once: whether,
// put in order, they are those of a row-major tensor.
func permutes(shape, strides []int, n int) bool {
	if len(shape) < 2 || len(shape) != len(strides) {
		return false // a vector may have fewer strides than dimensions
	}
	type dim struct{ n, stride int }
	var room [8]dim
	dims := room[:0]
	for i, n := range shape {
		if n > 1 {
			dims = append(dims, dim{n, strides[i]})
		}
	}
	slices.SortFunc(dims, func(a, b dim) int { return a.stride - b.stride })
	next := 1
	for _, d := range dims {
		if d.stride != next {
			return false
		}
		next *= d.n
	}
	return next == n && len(dims) > 1
}

var scratch32, scratch64 sync.Pool

// permuteInPlace does so by way of memory from a pool.
func permuteInPlace[T float32 | float64](data []T, shape, strides []int, pool *sync.Pool, turn func(dst, src []T, rows, cols, ld int)) {
	room, _ := pool.Get().(*[]T)
	if room == nil {
		room = new([]T)
	}
	if len(*room) < len(data) {
		*room = make([]T, len(data))
	}
	tmp := (*room)[:len(data)]
	permute(tmp, data, shape, strides, turn)
	copy(data, tmp)
	pool.Put(room)
}

// GteScalar returns t ≥ s, or s ≥ t, as ones and zeros if so asked by
// tensor.AsSameType.
func (e Engine) GteScalar(t tensor.Tensor, s interface{}, leftTensor bool, opts ...tensor.FuncOpt) (tensor.Tensor, error) {
	d := plain(t)
	bound, ok := scalar32(s)
	if d == nil || !ok || !leftTensor || !contiguous32(d) {
		return e.StandardEngine.GteScalar(t, s, leftTensor, opts...)
	}
	o := tensor.ParseFuncOpts(opts...)
	reuse, incr := o.IncrReuse()
	to, _ := reuse.(*tensor.Dense)
	switch {
	case !o.Same() || !o.Safe() || incr:
		return e.StandardEngine.GteScalar(t, s, leftTensor, opts...)
	case reuse == nil:
		to = tensor.NewDense(tensor.Float32, d.Shape().Clone(), tensor.WithEngine(e))
	case to == nil || plain(to) == nil || !contiguous32(to) || !to.Shape().Eq(d.Shape()):
		return e.StandardEngine.GteScalar(t, s, leftTensor, opts...)
	}
	best.atLeast(to.Float32s(), d.Float32s(), bound)
	return to, nil
}

// scalar32 is the value of a scalar, or of a tensor that is one.
func scalar32(s interface{}) (float32, bool) {
	if d, ok := s.(*tensor.Dense); ok && d.IsScalar() {
		s = d.ScalarValue()
	}
	v, ok := s.(float32)
	return v, ok
}

func contiguous32(d *tensor.Dense) bool {
	return d.Dtype() == tensor.Float32 && !d.IsScalar() && !d.RequiresIterator() &&
		inOrder(d.Shape(), d.Strides()) && len(d.Float32s()) == d.Shape().TotalSize()
}

// inOrder reports whether the strides are those of a row-major tensor. Those of a
// slice of a transposed one are not, though it may need no iterator.
func inOrder(shape tensor.Shape, strides []int) bool {
	if len(strides) < len(shape) { // as a vector may have, or a single element
		return shape.TotalSize() == 1 || len(strides) == 1 && strides[0] == 1
	}
	next := 1
	for i := len(shape) - 1; i >= 0; i-- {
		if shape[i] > 1 && strides[i] != next {
			return false
		}
		next *= shape[i]
	}
	return true
}
