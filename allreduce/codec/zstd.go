package codec

import (
	"encoding/binary"
	"fmt"
	"sync"

	"github.com/klauspost/compress/zstd"

	"github.com/ringrun/ringrun/allreduce"
)

// Zstd sends elements without loss, the first bytes of all of them, then the
// second bytes, and so on. The planes of the exponents compress well, those of
// the low bits of gradients not at all; a plane that does not goes as it is.
// It takes every type. The zero value is ready; use it by pointer.
//
//	+---------------+-----------------+---------------+-----------------+-- –
//	| length uint32 | bytes 0 of all  | length uint32 | bytes 1 of all  |   …
//	+---------------+-----------------+---------------+-----------------+-- –
//
// Lengths are little-endian. A plane as long as there are elements is not
// compressed; a shorter one is a zstd frame of just so many bytes.
type Zstd struct {
	once    sync.Once
	encoder *zstd.Encoder
	decoder *zstd.Decoder
	planes  sync.Pool
}

const (
	lengthBytes = 4
	maxPlane    = 4 << 20 // no frame of a ring is larger
)

// ID returns 2.
func (*Zstd) ID() uint8 { return 2 }

// Name returns "zstd".
func (*Zstd) Name() string { return "zstd" }

// Supports returns true.
func (*Zstd) Supports(allreduce.Type) bool { return true }

// Lossy returns false.
func (*Zstd) Lossy() bool { return false }

// Bound returns the size of n elements none of whose planes can be compressed.
func (*Zstd) Bound(t allreduce.Type, n int) int { return t.Size() * (lengthBytes + n) }

func (z *Zstd) init() {
	z.once.Do(func() {
		var err error
		z.encoder, err = zstd.NewWriter(nil,
			zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderCRC(false), zstd.WithZeroFrames(true),
			zstd.WithAllLitEntropyCompression(true)) // exponents repeat without a pattern
		if err == nil {
			z.decoder, err = zstd.NewReader(nil,
				zstd.WithDecoderConcurrency(0), zstd.WithDecodeAllCapLimit(true), zstd.WithDecoderMaxMemory(maxPlane))
		}
		if err != nil {
			panic("codec: zstd options: " + err.Error())
		}
	})
}

// AppendTo splits x into planes and compresses each.
func (z *Zstd) AppendTo(b []byte, x allreduce.Vector) []byte {
	z.init()
	n, size := x.Len(), x.Type().Size()
	plane := z.plane(n)
	defer z.planes.Put(&plane)
	for k := range size {
		split(plane, x.Bytes(), k, size)
		at := len(b)
		b = append(b, 0, 0, 0, 0)
		b = z.encoder.EncodeAll(plane, b)
		if len(b)-at-lengthBytes >= n {
			b = append(b[:at+lengthBytes], plane...)
		}
		binary.LittleEndian.PutUint32(b[at:], uint32(len(b)-at-lengthBytes))
	}
	return b
}

// Decode puts the planes together again.
func (z *Zstd) Decode(x allreduce.Vector, b []byte) error {
	z.init()
	n, size := x.Len(), x.Type().Size()
	buffer := z.plane(n)
	defer z.planes.Put(&buffer)
	for k := range size {
		if len(b) < lengthBytes {
			return fmt.Errorf("codec: zstd: plane %d of %d is missing", k, size)
		}
		length := uint64(binary.LittleEndian.Uint32(b))
		b = b[lengthBytes:]
		if length > uint64(n) || length > uint64(len(b)) {
			return fmt.Errorf("codec: zstd: plane %d of %d bytes, with %d elements and %d bytes left", k, length, n, len(b))
		}
		plane, err := z.unpack(b[:length], buffer)
		if err != nil {
			return fmt.Errorf("codec: zstd: plane %d: %w", k, err)
		}
		b = b[length:]
		join(x.Bytes(), plane, k, size)
	}
	if len(b) > 0 {
		return fmt.Errorf("codec: zstd: %d bytes too many", len(b))
	}
	return nil
}

// unpack returns the plane in b, decompressed into buffer if need be.
func (z *Zstd) unpack(b, buffer []byte) ([]byte, error) {
	n := len(buffer)
	if len(b) == n {
		return b, nil
	}
	plane, err := z.decoder.DecodeAll(b, buffer[:0:n])
	if err != nil {
		return nil, err
	}
	if len(plane) != n {
		return nil, fmt.Errorf("%d bytes, want %d", len(plane), n)
	}
	return plane, nil
}

func (z *Zstd) plane(n int) []byte {
	if p, ok := z.planes.Get().(*[]byte); ok && cap(*p) >= n {
		return (*p)[:n]
	}
	return make([]byte, n)
}

// split copies byte k of every element of x to the plane.
func split(plane, x []byte, k, size int) {
	for i := range plane {
		plane[i] = x[i*size+k]
	}
}

// join is the inverse of split.
func join(x, plane []byte, k, size int) {
	for i, p := range plane {
		x[i*size+k] = p
	}
}
