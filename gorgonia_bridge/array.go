package bridge

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/ringrun/ringrun/allreduce"
)

// An array is the elements of a value, in the order of its memory: either
// float32 or float64.
type array struct {
	f32 []float32
	f64 []float64
}

func newArray(dt tensor.Dtype, n int) array {
	if dt == tensor.Float32 {
		return array{f32: make([]float32, n)}
	}
	return array{f64: make([]float64, n)}
}

// arrayOf returns the elements of v: the very memory of a tensor, and a copy of
// a scalar, which Gorgonia holds behind a pointer (see store).
func arrayOf(v gorgonia.Value) (array, error) {
	switch v := v.(type) {
	case *gorgonia.F32:
		return array{f32: []float32{float32(*v)}}, nil
	case *gorgonia.F64:
		return array{f64: []float64{float64(*v)}}, nil
	case *tensor.Dense:
		return arrayOfDense(v)
	case nil:
		return array{}, fmt.Errorf("has no value")
	}
	return array{}, fmt.Errorf("is a %T of %v; only float32 and float64 can be reduced", v, v.Dtype())
}

func arrayOfDense(d *tensor.Dense) (array, error) {
	if d.Shape().IsScalar() {
		return array{}, fmt.Errorf("is a tensor without dimensions; use a scalar node, or shape (1)")
	}
	var a array
	switch data := d.Data().(type) {
	case []float32:
		a.f32 = data
	case []float64:
		a.f64 = data
	default:
		return array{}, fmt.Errorf("is of %v; only float32 and float64 can be reduced", d.Dtype())
	}
	if d.RequiresIterator() || a.len() != d.Shape().TotalSize() {
		return array{}, fmt.Errorf("is a view %v of %d elements, not contiguous; clone it first", d.Shape(), a.len())
	}
	return a, nil
}

func (a array) len() int { return len(a.f32) + len(a.f64) }

func (a array) dtype() tensor.Dtype {
	if a.f64 != nil {
		return tensor.Float64
	}
	return tensor.Float32
}

func (a array) vector() allreduce.Vector {
	if a.f64 != nil {
		return allreduce.Of(a.f64)
	}
	return allreduce.Of(a.f32)
}

// backing returns the slice.
func (a array) backing() any {
	if a.f64 != nil {
		return a.f64
	}
	return a.f32
}

// first returns the first element.
func (a array) first() float64 {
	if a.f64 != nil {
		return a.f64[0]
	}
	return float64(a.f32[0])
}

func (a array) setFirst(x float64) {
	if a.f64 != nil {
		a.f64[0] = x
	} else {
		a.f32[0] = float32(x)
	}
}

func (a array) zero() {
	clear(a.f32)
	clear(a.f64)
}

// copyFrom takes the elements of b, which has the same type and length.
func (a array) copyFrom(b array) {
	copy(a.f32, b.f32)
	copy(a.f64, b.f64)
}

// add adds b, which has the same type and length, element by element.
func (a array) add(b array) {
	allreduce.Combine([]allreduce.Vector{a.vector()}, []allreduce.Vector{b.vector(), a.vector()}, 1)
}

// scaled takes the elements of b, which has the same type and length, times by.
func (a array) scaled(b array, by float64) {
	allreduce.Combine([]allreduce.Vector{a.vector()}, []allreduce.Vector{b.vector()}, by)
}

// store writes the elements back into v if v does not share their memory.
func (a array) store(v gorgonia.Value) {
	switch v := v.(type) {
	case *gorgonia.F32:
		*v = gorgonia.F32(a.f32[0])
	case *gorgonia.F64:
		*v = gorgonia.F64(a.f64[0])
	}
}

// ioBytes is how much of an array is encoded at a time.
const ioBytes = 64 << 10

// writeTo writes the elements to w, little-endian.
func (a array) writeTo(w io.Writer) error {
	buf := make([]byte, 0, min(ioBytes, a.len()*int(a.dtype().Size())))
	flush := func() error {
		_, err := w.Write(buf)
		buf = buf[:0]
		return err
	}
	for _, x := range a.f32 {
		if buf = binary.LittleEndian.AppendUint32(buf, math.Float32bits(x)); len(buf) == ioBytes {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	for _, x := range a.f64 {
		if buf = binary.LittleEndian.AppendUint64(buf, math.Float64bits(x)); len(buf) == ioBytes {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

// readFrom fills the array with what writeTo wrote.
func (a array) readFrom(r io.Reader) error {
	size := int(a.dtype().Size())
	buf := make([]byte, min(ioBytes, a.len()*size))
	for at := 0; at < a.len(); {
		n := min(len(buf)/size, a.len()-at)
		if _, err := io.ReadFull(r, buf[:n*size]); err != nil {
			return err
		}
		for i := range n {
			if a.f64 != nil {
				a.f64[at+i] = math.Float64frombits(binary.LittleEndian.Uint64(buf[8*i:]))
			} else {
				a.f32[at+i] = math.Float32frombits(binary.LittleEndian.Uint32(buf[4*i:]))
			}
		}
		at += n
	}
	return nil
}
