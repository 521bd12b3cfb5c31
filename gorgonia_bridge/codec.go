package bridge

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"slices"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

const (
	maxName = 1 << 10 // bytes in a name
	maxDims = 16
)

// ErrState reports bytes that are not the saved state of this model.
var ErrState = errors.New("bridge: not a state of this model")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// An encoder writes the parts of a state. After an error it does nothing.
type encoder struct {
	w   *bufio.Writer
	sum hash.Hash32
	err error
}

func newEncoder(w io.Writer) *encoder {
	sum := crc32.New(castagnoli)
	return &encoder{w: bufio.NewWriter(io.MultiWriter(w, sum)), sum: sum}
}

func (e *encoder) bytes(b ...byte) {
	if e.err == nil {
		_, e.err = e.w.Write(b)
	}
}

func (e *encoder) uint(n int, x uint64) {
	e.bytes(binary.LittleEndian.AppendUint64(nil, x)[:n]...)
}

func (e *encoder) string(s string) {
	e.uint(2, uint64(len(s)))
	e.bytes([]byte(s)...)
}

// value writes type, order and shape, then the elements.
func (e *encoder) value(v gorgonia.Value) {
	a, err := arrayOf(v)
	if err != nil {
		e.fail(err)
		return
	}
	order := byte(0)
	if d, ok := v.(*tensor.Dense); ok && d.DataOrder().IsColMajor() {
		order = 1
	}
	e.bytes(byte(a.dtype().Size()), order, byte(v.Shape().Dims()))
	for _, d := range v.Shape() {
		e.uint(8, uint64(d))
	}
	if e.err == nil {
		e.err = a.writeTo(e.w)
	}
}

// maxPiece is how many bytes of others follow one length.
const maxPiece = 64 << 10

// pieces is a writer of bytes that end where a length of 0 is written.
type pieces struct{ e *encoder }

func (p pieces) Write(b []byte) (int, error) {
	for piece := range slices.Chunk(b, maxPiece) {
		p.e.uint(4, uint64(len(piece)))
		p.e.bytes(piece...)
	}
	return len(b), p.e.err
}

func (e *encoder) fail(err error) {
	if e.err == nil {
		e.err = err
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

// A decoder reads what an encoder wrote. After an error it returns zeros. It
// takes no memory because a number in its input says so: the caller knows the
// sizes.
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
		d.ended(err)
		clear(b)
	}
}

// ended reports that the input stopped too early.
func (d *decoder) ended(err error) {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		d.fail("it is truncated")
		return
	}
	if d.err == nil {
		d.err = fmt.Errorf("bridge: read state: %w", err)
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

// pieces reads what went through pieces, and takes memory as it comes.
func (d *decoder) pieces() []byte {
	var out []byte
	for {
		n := int(d.uint(4))
		if n > maxPiece {
			d.fail("a piece of %d bytes, at most %d", n, maxPiece)
		}
		if n == 0 || d.err != nil {
			return out
		}
		out = append(out, make([]byte, n)...)
		d.bytes(out[len(out)-n:])
	}
}

// value reads a value of the type and length of p, in p's shape or, where a
// solver keeps it so, in another of as many elements.
func (d *decoder) value(p param, what string) gorgonia.Value {
	size, order, dims := d.uint(1), d.uint(1), d.uint(1)
	if d.err == nil && (size != uint64(p.dtype.Size()) || order > 1 || dims > maxDims || (dims == 0) != p.scalar()) {
		d.fail("%s of %q has %d-byte elements, order %d and %d dimensions; the parameter is %v of %v", what, p.name, size, order, dims, p.shape, p.dtype)
	}
	if d.err != nil {
		return nil
	}
	shape, left := make(tensor.Shape, dims), uint64(p.len)
	for i := range shape {
		n := d.uint(8)
		if n == 0 || left%n != 0 {
			d.fail("%s of %q has dimension %d of size %d, which does not make %v", what, p.name, i, n, p.shape)
			return nil
		}
		shape[i] = int(n)
		left /= n
	}
	if left != 1 {
		d.fail("%s of %q is %v, the parameter is %v", what, p.name, shape, p.shape)
		return nil
	}
	v := p.newValue(shape, order == 1)
	a, err := arrayOf(v)
	if err != nil {
		panic(fmt.Sprintf("bridge: made a value that %v", err))
	}
	if err := a.readFrom(d.r); err != nil {
		d.ended(err)
		return nil
	}
	a.store(v)
	return v
}

// close checks the checksum.
func (d *decoder) close() error {
	want := uint64(d.sum.Sum32())
	if got := d.uint(4); d.err == nil && got != want {
		d.fail("checksum %#x, want %#x", got, want)
	}
	return d.err
}
