package allreduce

import (
	"fmt"
	"unsafe"
)

// Type is the type of the elements of a Vector.
type Type uint8

// The element types. Their numbers are part of the wire format.
const (
	Float32 Type = iota + 1
	Float64
	Int32
	Int64
)

// String returns the name that the type has in Go.
func (t Type) String() string {
	switch t {
	case Float32:
		return "float32"
	case Float64:
		return "float64"
	case Int32:
		return "int32"
	case Int64:
		return "int64"
	}
	return fmt.Sprintf("type %d", uint8(t))
}

// Size returns the number of bytes of one element.
func (t Type) Size() int {
	switch t {
	case Float32, Int32:
		return 4
	case Float64, Int64:
		return 8
	}
	panic(fmt.Sprintf("allreduce: size of %v", t))
}

// Number is an element type in Go.
type Number interface {
	float32 | float64 | int32 | int64
}

// Vector is a slice of numbers whose type is known at run time only. It shares
// the memory of the slice that it was made of. Elements travel as they lie in
// memory, so all peers must have the same byte order.
type Vector struct {
	at  unsafe.Pointer
	len int
	typ Type
}

// Of returns x as a Vector.
func Of[T Number](x []T) Vector {
	var typ Type
	switch any(x).(type) {
	case []float32:
		typ = Float32
	case []float64:
		typ = Float64
	case []int32:
		typ = Int32
	case []int64:
		typ = Int64
	}
	return Vector{unsafe.Pointer(unsafe.SliceData(x)), len(x), typ}
}

// over returns n elements at the start of b as a Vector.
func over(b []byte, t Type, n int) Vector {
	if n*t.Size() > len(b) {
		panic(fmt.Sprintf("allreduce: %d %v in %d bytes", n, t, len(b)))
	}
	return Vector{unsafe.Pointer(unsafe.SliceData(b)), n, t}
}

// Len returns the number of elements.
func (x Vector) Len() int { return x.len }

// Type returns the type of the elements.
func (x Vector) Type() Type { return x.typ }

// Bytes returns the memory of the elements.
func (x Vector) Bytes() []byte {
	if x.len == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(x.at), x.len*x.typ.Size())
}

// Slice returns elements lo to hi, in the same memory.
func (x Vector) Slice(lo, hi int) Vector {
	if lo < 0 || hi < lo || hi > x.len {
		panic(fmt.Sprintf("allreduce: elements %d to %d of %d", lo, hi, x.len))
	}
	if lo == hi {
		return Vector{nil, 0, x.typ}
	}
	return Vector{unsafe.Add(x.at, lo*x.typ.Size()), hi - lo, x.typ}
}

// Elements returns the slice that x was made of, or panics if T is not its type.
func Elements[T Number](x Vector) []T {
	if t := Of([]T(nil)).typ; t != x.typ {
		panic(fmt.Sprintf("allreduce: elements of a vector of %v as %v", x.typ, t))
	}
	return unsafe.Slice((*T)(x.at), x.len)
}
