package allreduce

import (
	"fmt"
)

// A Codec writes elements into frames and reads them back. It is used by
// several goroutines at once.
//
// Decoders meet bytes from the network: they check every size before they take
// memory, and whatever they are given they return, with an error if need be.
type Codec interface {
	// ID identifies the codec on the wire: 0 is Raw, 1 half, 2 zstd; codecs of
	// others begin at 128.
	ID() uint8
	// Name is what a user calls it.
	Name() string
	// Supports reports whether the codec takes elements of this type. Vectors
	// of other types go raw.
	Supports(t Type) bool
	// Lossy reports whether Decode may return something else than was encoded.
	// Encoding again what was decoded must give the same elements.
	Lossy() bool
	// Bound returns the largest size of n encoded elements. It grows with n.
	Bound(t Type, n int) int
	// AppendTo appends the encoded elements of x to b.
	AppendTo(b []byte, x Vector) []byte
	// Decode reads exactly as many elements as x has into x. The whole of b
	// belongs to them. After an error the elements of x are undefined.
	Decode(x Vector, b []byte) error
}

// Raw sends elements as they lie in memory.
var Raw Codec = raw{}

type raw struct{}

func (raw) ID() uint8               { return 0 }
func (raw) Name() string            { return "raw" }
func (raw) Supports(Type) bool      { return true }
func (raw) Lossy() bool             { return false }
func (raw) Bound(t Type, n int) int { return n * t.Size() }

func (raw) AppendTo(b []byte, x Vector) []byte { return append(b, x.Bytes()...) }

func (raw) Decode(x Vector, b []byte) error {
	if len(b) != len(x.Bytes()) {
		return fmt.Errorf("allreduce: %d bytes for %d %v", len(b), x.Len(), x.Type())
	}
	copy(x.Bytes(), b)
	return nil
}

func codecName(id uint8) string {
	switch id {
	case 0:
		return "raw"
	case 1:
		return "half"
	case 2:
		return "zstd"
	}
	return fmt.Sprintf("codec %d", id)
}
