package solver

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"math"
)

// ErrState reports bytes that are not the saved state of this solver.
var ErrState = errors.New("solver: not a state of this solver")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// An encoder writes the parts of a state. After an error it does nothing.
type encoder struct {
	w   *bufio.Writer
	sum hash.Hash32
	err error
}

func newEncoder(w io.Writer) *encoder {
	sum := crc32.New(castagnoli)
	return &encoder{w: bufio.NewWriterSize(io.MultiWriter(w, sum), pieceBytes), sum: sum}
}

func (e *encoder) bytes(b ...byte) {
	if e.err == nil {
		_, e.err = e.w.Write(b)
	}
}

func (e *encoder) uint(n int, x uint64) {
	b := e.w.AvailableBuffer()
	e.bytes(binary.LittleEndian.AppendUint64(b, x)[:n]...)
}

func (e *encoder) string(s string) {
	e.uint(2, uint64(len(s)))
	e.bytes([]byte(s)...)
}

func (e *encoder) array(a array) {
	for _, x := range a.f32 {
		e.uint(4, uint64(math.Float32bits(x)))
	}
	for _, x := range a.f64 {
		e.uint(8, math.Float64bits(x))
	}
}

// close writes the checksum of all that was written before.
func (e *encoder) close() error {
	if e.err == nil {
		e.err = e.w.Flush()
	}
	e.uint(4, uint64(e.sum.Sum32()))
	if e.err == nil {
		e.err = e.w.Flush()
	}
	return e.err
}

// pieceBytes is how much of an array is read at a time.
const pieceBytes = 64 << 10

// A decoder reads what an encoder wrote. After an error it returns zeros. It
// takes no more memory than a few times what its input has: a length that lies
// ends in an error when the input does.
type decoder struct {
	r   io.Reader
	sum hash.Hash32
	err error
}

func newDecoder(r io.Reader) *decoder {
	sum := crc32.New(castagnoli)
	return &decoder{r: io.TeeReader(r, sum), sum: sum}
}

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: "+format, append([]any{ErrState}, args...)...)
	}
}

func (d *decoder) bytes(b []byte) {
	if d.err != nil {
		clear(b)
		return
	}
	if _, err := io.ReadFull(d.r, b); err != nil {
		clear(b)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			d.fail("it is truncated")
		} else {
			d.err = fmt.Errorf("solver: read state: %w", err)
		}
	}
}

func (d *decoder) uint(n int) uint64 {
	var b [8]byte
	d.bytes(b[:n])
	return binary.LittleEndian.Uint64(b[:])
}

func (d *decoder) string() string {
	n := d.uint(2)
	if n > maxName {
		d.fail("a name of %d bytes, at most %d", n, maxName)
		return ""
	}
	b := make([]byte, n)
	d.bytes(b)
	return string(b)
}

// array reads n elements of size bytes.
func (d *decoder) array(size, n int) array {
	var a array
	var piece [pieceBytes]byte
	for a.len() < n && d.err == nil {
		b := piece[:size*min(n-a.len(), pieceBytes/size)]
		d.bytes(b)
		for i := 0; i < len(b); i += size {
			if size == 4 {
				a.f32 = append(a.f32, math.Float32frombits(binary.LittleEndian.Uint32(b[i:])))
			} else {
				a.f64 = append(a.f64, math.Float64frombits(binary.LittleEndian.Uint64(b[i:])))
			}
		}
	}
	return a
}

// close checks the checksum.
func (d *decoder) close() error {
	want := uint64(d.sum.Sum32())
	if got := d.uint(4); d.err == nil && got != want {
		d.fail("checksum %#x, want %#x", got, want)
	}
	return d.err
}
