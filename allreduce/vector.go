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
	Int8
	Uint8
	Int16
	Float16  // of F16
	BFloat16 // of BF16
	Uint16
	Uint32
	Uint64
)

var types = [...]struct {
	name string
	size int
}{
	Float32:  {"float32", 4},
	Float64:  {"float64", 8},
	Int32:    {"int32", 4},
	Int64:    {"int64", 8},
	Int8:     {"int8", 1},
	Uint8:    {"uint8", 1},
	Int16:    {"int16", 2},
	Float16:  {"float16", 2},
	BFloat16: {"bfloat16", 2},
	Uint16:   {"uint16", 2},
	Uint32:   {"uint32", 4},
	Uint64:   {"uint64", 8},
}

// Types returns all element types.
func Types() (all []Type) {
	for t := Float32; t.valid(); t++ {
		all = append(all, t)
	}
	return all
}

func (t Type) valid() bool { return t >= Float32 && int(t) < len(types) }

// integral reports whether the elements are integers.
func (t Type) integral() bool {
	switch t {
	case Int8, Uint8, Int16, Uint16, Int32, Uint32, Int64, Uint64:
		return true
	}
	return false
}

// String returns the name that the type has in Go, or would have.
func (t Type) String() string {
	if !t.valid() {
		return fmt.Sprintf("type %d", uint8(t))
	}
	return types[t].name
}

// Size returns the number of bytes of one element.
func (t Type) Size() int {
	if !t.valid() {
		panic(fmt.Sprintf("allreduce: size of %v", t))
	}
	return types[t].size
}

// Number is an element type with arithmetic in Go.
type Number interface {
	float32 | float64 | int32 | int64 | int16 | int8 | uint8 | uint16 | uint32 | uint64
}

// Element is an element type in Go.
type Element interface {
	Number | F16 | BF16
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
func Of[T Element](x []T) Vector {
	return Vector{unsafe.Pointer(unsafe.SliceData(x)), len(x), typeOf[T]()}
}

func typeOf[T Element]() Type {
	switch any(*new(T)).(type) {
	case float32:
		return Float32
	case float64:
		return Float64
	case int32:
		return Int32
	case int64:
		return Int64
	case int8:
		return Int8
	case uint8:
		return Uint8
	case int16:
		return Int16
	case F16:
		return Float16
	case BF16:
		return BFloat16
	case uint16:
		return Uint16
	case uint32:
		return Uint32
	case uint64:
		return Uint64
	}
	panic("unreachable")
}

// Over returns b as a Vector of elements of a type, in the same memory: for
// memory that was not made as a slice of numbers. Elements returns the numbers.
// It panics if b does not hold whole elements or is not aligned for them.
func Over(b []byte, t Type) Vector {
	size := t.Size()
	if len(b)%size != 0 || uintptr(unsafe.Pointer(unsafe.SliceData(b)))%uintptr(size) != 0 {
		panic(fmt.Sprintf("allreduce: %v in %d bytes at %p", t, len(b), unsafe.SliceData(b)))
	}
	return over(b, t, len(b)/size)
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
func Elements[T Element](x Vector) []T {
	if t := typeOf[T](); t != x.typ {
		panic(fmt.Sprintf("allreduce: elements of a vector of %v as %v", x.typ, t))
	}
	return unsafe.Slice((*T)(x.at), x.len)
}
