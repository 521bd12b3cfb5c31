package codec

import (
	"encoding/binary"
	"unsafe"
)

// littleEndian says whether this machine has numbers in memory as frames do.
var littleEndian = binary.NativeEndian.Uint16([]byte{1, 0}) == 1

// halves returns the same memory as numbers of 16 bits, if they lie in it as
// this machine would have them.
func halves(b []byte) (h []uint16, ok bool) {
	p := unsafe.Pointer(unsafe.SliceData(b))
	if !littleEndian || uintptr(p)%unsafe.Alignof(uint16(0)) != 0 {
		return nil, false
	}
	return unsafe.Slice((*uint16)(p), len(b)/2), true
}
