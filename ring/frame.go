package ring

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// Kind says what a frame is for.
type Kind uint8

const (
	// Data carries a segment of a collective.
	Data Kind = iota + 1
	// Alive shows that its sender still runs. Count is its Pulse.
	Alive
	// Abort says why its sender breaks the ring; it is passed on all round.
	Abort
	// Bye says that its sender has finished and will close the link.
	Bye
)

// Header describes one frame. The meaning of the fields from Codec on belongs
// to the layer above; ring carries them.
//
//	 0      1      2      3      4      5      6      7
//	+------+------+------+------+------+------+------+------+
//	| 'R'  | vers | kind |codec | type |  op  |    step     |
//	+------+------+------+------+------+------+------+------+
//	|                         epoch                         |
//	+---------------------------+---------------------------+
//	|            seq            |          length           |
//	+---------------------------+---------------------------+
//	|                         count                         |
//	+-------------------------------------------------------+
//	|                        offset                         |
//	+---------------------------+---------------------------+
//	|           root            |  CRC-32C of all the above |
//	+---------------------------+---------------------------+
//
// All integers are little-endian.
type Header struct {
	Kind   Kind
	Codec  uint8  // how the body is encoded
	Type   uint8  // element type of the vector
	Op     uint8  // what is done with it
	Step   uint16 // step of the schedule
	Epoch  uint64 // filled in and checked by the ring
	Seq    uint32 // number of the collective within the epoch
	Length uint32 // bytes in the body
	Count  uint64 // elements in the whole vector
	Offset uint64 // first element of this segment
	Root   uint32 // rank at which a rooted collective starts
}

const (
	// HeaderBytes is the size of an encoded header.
	HeaderBytes = 48
	// MaxBody is the largest body that any frame may have.
	MaxBody = 4 << 20
	// Version is the version of the wire format.
	Version = 1

	magic = 'R'
)

// ErrFrame reports bytes that are not a frame of this version.
var ErrFrame = errors.New("ring: not a frame")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// AppendTo appends the encoded header to b.
func (h Header) AppendTo(b []byte) []byte {
	i := len(b)
	b = append(b, magic, Version, byte(h.Kind), h.Codec, h.Type, h.Op)
	b = binary.LittleEndian.AppendUint16(b, h.Step)
	b = binary.LittleEndian.AppendUint64(b, h.Epoch)
	b = binary.LittleEndian.AppendUint32(b, h.Seq)
	b = binary.LittleEndian.AppendUint32(b, h.Length)
	b = binary.LittleEndian.AppendUint64(b, h.Count)
	b = binary.LittleEndian.AppendUint64(b, h.Offset)
	b = binary.LittleEndian.AppendUint32(b, h.Root)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b[i:], castagnoli))
}

// ParseHeader decodes the header at the start of b. Its errors wrap ErrFrame.
func ParseHeader(b []byte) (Header, error) {
	if len(b) < HeaderBytes {
		return Header{}, fmt.Errorf("%w: %d bytes, want at least %d", ErrFrame, len(b), HeaderBytes)
	}
	if b[0] != magic {
		return Header{}, fmt.Errorf("%w: first byte %#x, want %#x", ErrFrame, b[0], magic)
	}
	if b[1] != Version {
		return Header{}, fmt.Errorf("%w: version %d, this is version %d", ErrFrame, b[1], Version)
	}
	sum := crc32.Checksum(b[:HeaderBytes-4], castagnoli)
	if got := binary.LittleEndian.Uint32(b[HeaderBytes-4:]); got != sum {
		return Header{}, fmt.Errorf("%w: checksum %#x, want %#x", ErrFrame, got, sum)
	}
	h := Header{
		Kind:   Kind(b[2]),
		Codec:  b[3],
		Type:   b[4],
		Op:     b[5],
		Step:   binary.LittleEndian.Uint16(b[6:]),
		Epoch:  binary.LittleEndian.Uint64(b[8:]),
		Seq:    binary.LittleEndian.Uint32(b[16:]),
		Length: binary.LittleEndian.Uint32(b[20:]),
		Count:  binary.LittleEndian.Uint64(b[24:]),
		Offset: binary.LittleEndian.Uint64(b[32:]),
		Root:   binary.LittleEndian.Uint32(b[40:]),
	}
	if h.Kind < Data || h.Kind > Bye {
		return Header{}, fmt.Errorf("%w: kind %d", ErrFrame, h.Kind)
	}
	if h.Length > MaxBody {
		return Header{}, fmt.Errorf("%w: body of %d bytes, at most %d", ErrFrame, h.Length, MaxBody)
	}
	return h, nil
}
