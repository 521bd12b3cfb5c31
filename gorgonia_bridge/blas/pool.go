package blas

import (
	"fmt"
	"hash"

	"github.com/chewxy/hm"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// MaxPool2D is gorgonia.MaxPool2D in less time, with the same padding on opposite
// sides; a window with NaN in it yields NaN. It is for the tape machine.
func MaxPool2D(x *gorgonia.Node, kernel tensor.Shape, pad, stride []int) (*gorgonia.Node, error) {
	w, err := newWindow(kernel, pad, stride, nil)
	if err != nil {
		return nil, err
	}
	s := x.Shape()
	switch {
	case s.Dims() != 4:
		return nil, fmt.Errorf("blas: pooling of %v: want 4 dimensions", s)
	case w.over(0, s[2]) < 1 || w.over(1, s[3]) < 1:
		return nil, fmt.Errorf("blas: pooling of %v: a kernel of %v does not fit", s, kernel)
	case w.pad[0] >= w.kernel[0] || w.pad[1] >= w.kernel[1]:
		return nil, fmt.Errorf("blas: pooling of %v: with a padding of %v a kernel of %v would find nothing", s, pad, kernel)
	}
	return gorgonia.ApplyOp(poolOp{w, [4]int(s), false}, x)
}

// A poolOp takes the largest of what the window meets, or of images, result and
// the gradient of the result computes that of the images.
type poolOp struct {
	window window
	images [4]int
	diff   bool
}

var (
	_ gorgonia.SDOp            = poolOp{}
	_ gorgonia.UsePreallocDoer = poolOp{}
)

func (op poolOp) ReturnsPtr() bool      { return false }
func (op poolOp) CallsExtern() bool     { return false }
func (op poolOp) OverwritesInput() int  { return -1 }
func (op poolOp) Hashcode() uint32      { return hashOf(op) }
func (op poolOp) WriteHash(h hash.Hash) { fmt.Fprintf(h, "ringrun %v", op) }
func (op poolOp) String() string {
	return fmt.Sprintf("max pool, gradient %t%v%v", op.diff, op.images, op.window)
}

func (op poolOp) Arity() int {
	if op.diff {
		return 3
	}
	return 1
}

func (op poolOp) Type() hm.Type {
	t := gorgonia.TensorType{Dims: 4, Of: hm.TypeVariable('a')}
	if op.diff {
		return hm.NewFnType(t, t, t, t)
	}
	return hm.NewFnType(t, t)
}

func (op poolOp) shape() tensor.Shape {
	m := op.window.image(op.images[:])
	if op.diff {
		return tensor.Shape(op.images[:]).Clone()
	}
	return tensor.Shape{op.images[0], op.images[1], m.oh, m.ow}
}

func (op poolOp) InferShape(...gorgonia.DimSizer) (tensor.Shape, error) { return op.shape(), nil }

func (op poolOp) DiffWRT(n int) []bool {
	wrt := make([]bool, n)
	wrt[0] = !op.diff
	return wrt
}

// SymDiff adds the gradient to the graph.
func (op poolOp) SymDiff(inputs gorgonia.Nodes, output, grad *gorgonia.Node) (gorgonia.Nodes, error) {
	if op.diff {
		return nil, fmt.Errorf("blas: %v has no second derivative", op)
	}
	diff := op
	diff.diff = true
	d, err := gorgonia.ApplyOp(diff, inputs[0], output, grad)
	return gorgonia.Nodes{d}, err
}

// Do computes into new memory.
func (op poolOp) Do(inputs ...gorgonia.Value) (gorgonia.Value, error) {
	return op.UsePreallocDo(tensor.New(tensor.WithShape(op.shape()...), tensor.Of(inputs[0].Dtype())), inputs...)
}

// UsePreallocDo computes into the memory of a value.
func (op poolOp) UsePreallocDo(prealloc gorgonia.Value, inputs ...gorgonia.Value) (gorgonia.Value, error) {
	var in [3]*tensor.Dense
	to, ok := prealloc.(*tensor.Dense)
	for i, v := range inputs {
		d, tensorial := v.(*tensor.Dense)
		in[i], ok = d, ok && tensorial
	}
	if !ok {
		return nil, fmt.Errorf("blas: %v of %T into %T, want tensors", op, inputs[0], prealloc)
	}
	switch in[0].Dtype() {
	case tensor.Float32:
		pool(op, to.Float32s(), in)
	case tensor.Float64:
		pool(op, to.Float64s(), in)
	default:
		return nil, fmt.Errorf("blas: %v of %v, want float32 or float64", op, in[0].Dtype())
	}
	return to, nil
}

// pool computes what op says, channel by channel.
func pool[T float](op poolOp, to []T, in [3]*tensor.Dense) {
	w, m := op.window, op.window.image(op.images[:])
	pixels, places := m.h*m.w, m.places()
	x := contiguous[T](in[0])
	if !op.diff {
		each(op.images[0]*m.channels, func(i int) {
			largest(w, m, to[i*places:][:places], x[i*pixels:][:pixels])
		})
		return
	}
	y, dy := contiguous[T](in[1]), contiguous[T](in[2])
	each(op.images[0]*m.channels, func(i int) {
		dx := to[i*pixels:][:pixels]
		clear(dx)
		giveBack(w, m, dx, x[i*pixels:][:pixels], y[i*places:][:places], dy[i*places:][:places])
	})
}

// cells returns the pixels that the window meets along an axis of n at a place.
func (w window) cells(axis, place, n int) (lo, hi int) {
	at := place*w.stride[axis] - w.pad[axis]
	return max(at, 0), min(at+w.kernel[axis], n)
}

// halves reports whether the window is the usual one, which meets each pixel once.
func (w window) halves() bool {
	return w.kernel == [2]int{2, 2} && w.stride == [2]int{2, 2} && w.pad == [2]int{}
}

// largest writes the largest pixel at each place of a channel.
func largest[T float](w window, m image, y, x []T) {
	for py := range m.oh {
		top, bottom := w.cells(0, py, m.h)
		row := y[py*m.ow:][:m.ow]
		if w.halves() {
			a, b := x[top*m.w:][:2*m.ow], x[(top+1)*m.w:][:2*m.ow]
			for px := range row {
				row[px] = max(max(a[2*px], a[2*px+1]), max(b[2*px], b[2*px+1]))
			}
			continue
		}
		for px := range row {
			left, right := w.cells(1, px, m.w)
			best := x[top*m.w+left]
			for r := top; r < bottom; r++ {
				for _, v := range x[r*m.w+left : r*m.w+right] {
					best = max(best, v)
				}
			}
			row[px] = best
		}
	}
}

// giveBack adds the gradient of each place to the first pixel that was the
// largest there.
func giveBack[T float](w window, m image, dx, x, y, dy []T) {
	for py := range m.oh {
		top, bottom := w.cells(0, py, m.h)
		if w.halves() {
			at, n := top*m.w, 2*m.ow
			giveHalves(dx[at:][:n], dx[at+m.w:][:n], x[at:][:n], x[at+m.w:][:n], y[py*m.ow:][:m.ow], dy[py*m.ow:][:m.ow])
			continue
		}
		for px := range m.ow {
			left, right := w.cells(1, px, m.w)
			if i := first(x, y[py*m.ow+px], m.w, top, bottom, left, right); i >= 0 {
				dx[i] += dy[py*m.ow+px]
			}
		}
	}
}

// giveHalves does so for two rows of pixels, and places that share none.
func giveHalves[T float](da, db, a, b, y, dy []T) {
	for i, v := range y {
		switch {
		case a[2*i] == v:
			da[2*i] = dy[i]
		case a[2*i+1] == v:
			da[2*i+1] = dy[i]
		case b[2*i] == v:
			db[2*i] = dy[i]
		case b[2*i+1] == v:
			db[2*i+1] = dy[i]
		}
	}
}

// first returns the first pixel of a rectangle that is v, or -1: v is no number.
func first[T float](x []T, v T, width, top, bottom, left, right int) int {
	for r := top; r < bottom; r++ {
		for i := r*width + left; i < r*width+right; i++ {
			if x[i] == v {
				return i
			}
		}
	}
	return -1
}
