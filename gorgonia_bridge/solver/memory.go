package solver

import (
	"fmt"
	"unsafe"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// An array is elements in the order of their memory: float32 or float64.
type array struct {
	f32 []float32
	f64 []float64
}

func newArray(size, n int) array {
	if size == 4 {
		return array{f32: make([]float32, n)}
	}
	return array{f64: make([]float64, n)}
}

func (a array) len() int { return len(a.f32) + len(a.f64) }

// size returns the bytes in an element.
func (a array) size() int {
	if a.f64 != nil {
		return 8
	}
	return 4
}

func (a array) zero() {
	clear(a.f32)
	clear(a.f64)
}

// memoryOf returns the very memory of v, of scalars too: what is written there
// is the new value. It takes none itself, which tensor's Data would.
func memoryOf(v gorgonia.Value) (array, error) {
	switch v := v.(type) {
	case *gorgonia.F32:
		return array{f32: unsafe.Slice((*float32)(v), 1)}, nil
	case *gorgonia.F64:
		return array{f64: unsafe.Slice((*float64)(v), 1)}, nil
	case *tensor.Dense:
		return memoryOfDense(v)
	case nil:
		return array{}, fmt.Errorf("has no value")
	}
	return array{}, fmt.Errorf("is a %T of %v, want float32 or float64", v, v.Dtype())
}

func memoryOfDense(d *tensor.Dense) (array, error) {
	var a array
	switch d.Dtype() {
	case tensor.Float32:
		a.f32 = d.Float32s()
	case tensor.Float64:
		a.f64 = d.Float64s()
	default:
		return array{}, fmt.Errorf("is of %v, want float32 or float64", d.Dtype())
	}
	if d.RequiresIterator() || !inOrder(d) || a.len() != d.Shape().TotalSize() {
		return array{}, fmt.Errorf("is a view %v of %d elements, not contiguous; clone it first", d.Shape(), a.len())
	}
	if a.len() == 0 {
		return array{}, fmt.Errorf("has no elements")
	}
	return a, nil
}

// inOrder reports whether the elements lie by rows, or by columns where the tensor
// says so. Those of a slice of a transposed one do not, though it may need no
// iterator.
func inOrder(d *tensor.Dense) bool {
	shape, strides := d.Shape(), d.Strides()
	if len(strides) < len(shape) { // as a vector may have, or a single element
		return shape.TotalSize() == 1 || len(strides) == 1 && strides[0] == 1
	}
	next := 1
	for k := range shape {
		i := len(shape) - 1 - k
		if d.DataOrder().IsColMajor() {
			i = k
		}
		if shape[i] > 1 && strides[i] != next {
			return false
		}
		next *= shape[i]
	}
	return true
}

// colMajor reports whether the memory goes down the columns.
func colMajor(v gorgonia.Value) bool {
	d, ok := v.(*tensor.Dense)
	return ok && d.Dims() > 1 && d.DataOrder().IsColMajor()
}
