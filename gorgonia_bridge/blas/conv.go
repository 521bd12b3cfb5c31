package blas

import (
	"fmt"
	"hash"
	"hash/fnv"
	"sync"

	"github.com/chewxy/hm"
	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/gonum"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Conv2d is gorgonia.Conv2d in less time and memory: images of batch×channels×
// height×width by filters×channels×rows×columns. It multiplies image by image
// what the window meets by the filters; there is no transpose, because the product
// is the result. It is for the tape machine.
func Conv2d(im, filter *gorgonia.Node, kernel tensor.Shape, pad, stride, dilation []int) (*gorgonia.Node, error) {
	w, err := newWindow(kernel, pad, stride, dilation)
	if err != nil {
		return nil, err
	}
	is, fs := im.Shape(), filter.Shape()
	switch {
	case is.Dims() != 4 || fs.Dims() != 4:
		return nil, fmt.Errorf("blas: convolution of images %v by filters %v: want 4 dimensions each", is, fs)
	case fs[1] != is[1] || fs[2] != kernel[0] || fs[3] != kernel[1]:
		return nil, fmt.Errorf("blas: convolution of images %v by filters %v with a kernel %v", is, fs, kernel)
	case w.over(0, is[2]) < 1 || w.over(1, is[3]) < 1:
		return nil, fmt.Errorf("blas: convolution of images %v: a kernel of %v does not fit", is, kernel)
	}
	return gorgonia.ApplyOp(convOp{what: convForward, window: w, images: [4]int(is), filters: [4]int(fs)}, im, filter)
}

// What a convOp computes, from what.
const (
	convForward = "conv"          // images, filters
	convImages  = "conv images'"  // filters, gradient of the result
	convFilters = "conv filters'" // images, gradient of the result
	convArity   = 2               // of all
)

// A convOp is a convolution, or the gradient of one.
type convOp struct {
	what            string
	window          window
	images, filters [4]int
}

var (
	_ gorgonia.SDOp            = convOp{}
	_ gorgonia.UsePreallocDoer = convOp{}
)

func (op convOp) Arity() int            { return convArity }
func (op convOp) ReturnsPtr() bool      { return false }
func (op convOp) CallsExtern() bool     { return false }
func (op convOp) OverwritesInput() int  { return -1 }
func (op convOp) Hashcode() uint32      { return hashOf(op) }
func (op convOp) WriteHash(h hash.Hash) { fmt.Fprintf(h, "ringrun %v", op) }
func (op convOp) String() string {
	return fmt.Sprintf("%s%v%v%v", op.what, op.images, op.filters, op.window)
}

func hashOf(op gorgonia.Op) uint32 {
	h := fnv.New32a()
	op.WriteHash(h)
	return h.Sum32()
}

func (op convOp) Type() hm.Type {
	t := gorgonia.TensorType{Dims: 4, Of: hm.TypeVariable('a')}
	return hm.NewFnType(t, t, t)
}

func (op convOp) image() image { return op.window.image(op.images[:]) }

func (op convOp) shape() tensor.Shape {
	switch op.what {
	case convImages:
		return tensor.Shape(op.images[:]).Clone()
	case convFilters:
		return tensor.Shape(op.filters[:]).Clone()
	}
	m := op.image()
	return tensor.Shape{op.images[0], op.filters[0], m.oh, m.ow}
}

func (op convOp) InferShape(...gorgonia.DimSizer) (tensor.Shape, error) { return op.shape(), nil }

func (op convOp) DiffWRT(int) []bool { return []bool{op.what == convForward, op.what == convForward} }

// SymDiff adds the gradients to the graph.
func (op convOp) SymDiff(inputs gorgonia.Nodes, _, grad *gorgonia.Node) (gorgonia.Nodes, error) {
	if op.what != convForward {
		return nil, fmt.Errorf("blas: %v has no second derivative", op)
	}
	images, filters := op, op
	images.what, filters.what = convImages, convFilters
	dIm, err := gorgonia.ApplyOp(images, inputs[1], grad)
	if err != nil {
		return nil, err
	}
	dFilter, err := gorgonia.ApplyOp(filters, inputs[0], grad)
	return gorgonia.Nodes{dIm, dFilter}, err
}

// Do computes into new memory.
func (op convOp) Do(inputs ...gorgonia.Value) (gorgonia.Value, error) {
	return op.UsePreallocDo(tensor.New(tensor.WithShape(op.shape()...), tensor.Of(inputs[0].Dtype())), inputs...)
}

// UsePreallocDo computes into the memory of a value.
func (op convOp) UsePreallocDo(prealloc gorgonia.Value, inputs ...gorgonia.Value) (gorgonia.Value, error) {
	a, okA := inputs[0].(*tensor.Dense)
	b, okB := inputs[1].(*tensor.Dense)
	to, okTo := prealloc.(*tensor.Dense)
	if !okA || !okB || !okTo {
		return nil, fmt.Errorf("blas: %v of %T and %T into %T, want tensors", op, inputs[0], inputs[1], prealloc)
	}
	switch a.Dtype() {
	case tensor.Float32:
		multiply(op, &conv32, to.Float32s(), contiguous[float32](a), contiguous[float32](b))
	case tensor.Float64:
		multiply(op, &conv64, to.Float64s(), contiguous[float64](a), contiguous[float64](b))
	default:
		return nil, fmt.Errorf("blas: %v of %v, want float32 or float64", op, a.Dtype())
	}
	return to, nil
}

// A convolver is what convolutions need of a type.
type convolver[T float] struct {
	gemm func(tA, tB blas.Transpose, m, n, k int, alpha T, a []T, lda int, b []T, ldb int, beta T, c []T, ldc int)
	add  func(dst, x, y []T)
	pool sync.Pool // of *[]T
}

var (
	conv32 = convolver[float32]{gemm: best.sgemm, add: best.add}
	conv64 = convolver[float64]{gemm: gonum.Implementation{}.Dgemm, add: func(dst, x, y []float64) {
		for i, v := range x {
			dst[i] = v + y[i]
		}
	}}
)

// room returns memory that must be given back.
func (c *convolver[T]) room(n int) *[]T {
	r, _ := c.pool.Get().(*[]T)
	if r == nil {
		r = new([]T)
	}
	if len(*r) < n {
		*r = make([]T, n)
	}
	return r
}

// multiply computes what op says. Images are independent of each other, and what
// all add to is done in their order, so the number of threads changes no bit.
func multiply[T float](op convOp, c *convolver[T], to, a, b []T) {
	m := op.image()
	places, filters := m.places(), op.filters[0]
	depth := m.channels * op.window.kernel[0] * op.window.kernel[1]
	pixels, results := m.pixels(), filters*places
	const n, t = blas.NoTrans, blas.Trans
	one := func(i int) {
		room := c.room(depth * places)
		defer c.pool.Put(room)
		cols := (*room)[:depth*places]
		switch op.what {
		case convForward:
			spreadOut(op.window, m, cols, a[i*pixels:][:pixels])
			c.gemm(n, n, filters, places, depth, 1, b, depth, cols, places, 0, to[i*results:][:results], places)
		case convImages:
			c.gemm(t, n, depth, places, filters, 1, a, depth, b[i*results:][:results], places, 0, cols, places)
			clear(to[i*pixels:][:pixels])
			addUp(op.window, m, to[i*pixels:][:pixels], cols, c.add)
		case convFilters:
			spreadOut(op.window, m, cols, a[i*pixels:][:pixels])
			c.gemm(n, t, filters, depth, places, 1, b[i*results:][:results], places, cols, places, T(min(i, 1)), to, depth)
		}
	}
	if op.what != convFilters {
		each(op.images[0], one)
		return
	}
	for i := range op.images[0] {
		one(i)
	}
}
