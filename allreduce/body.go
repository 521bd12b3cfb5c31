package allreduce

import (
	"fmt"
	"io"
	"math/bits"
	"sync"
)

// A body is what a frame carries.
type body interface {
	// fill reads len(p) bytes into p.
	fill(p []byte) error
	// next returns the next n bytes, or as many of them as it has room for;
	// they are valid until the next call.
	next(n int) ([]byte, error)
}

// stream is a body that arrives over a link.
type stream struct {
	lane    *lane
	scratch []byte
}

func (s *stream) fill(p []byte) error {
	_, err := io.ReadFull(s.lane, p)
	return err
}

func (s *stream) next(n int) ([]byte, error) {
	p := s.scratch[:min(n, len(s.scratch))]
	return p, s.fill(p)
}

// kept is a body that came before it could be used.
type kept []byte

func (k *kept) fill(p []byte) error {
	q, err := k.next(len(p))
	copy(p, q)
	return err
}

func (k *kept) next(n int) ([]byte, error) {
	if n > len(*k) {
		return nil, fmt.Errorf("frame ends after %d bytes, want %d", len(*k), n)
	}
	p := (*k)[:n]
	*k = (*k)[n:]
	return p, nil
}

// buffers keeps memory for bodies, by powers of two. Large new memory is slow:
// the kernel clears every page of it.
type buffers struct {
	pools [32]sync.Pool
}

// minPooled is where keeping a buffer begins to cost less than making one. It
// also makes the allocator align buffers for every type of elements.
const minPooled = 4 << 10

// get returns n bytes of any content, aligned for every type of elements.
func (b *buffers) get(n int) []byte {
	if n < minPooled {
		return make([]byte, n, max(n, 8))
	}
	class := bits.Len(uint(n - 1))
	if p, ok := b.pools[class].Get().(*[]byte); ok {
		return (*p)[:n]
	}
	return make([]byte, n, 1<<class)
}

// put takes back what get has returned.
func (b *buffers) put(p []byte) {
	if c := cap(p); c >= minPooled && c&(c-1) == 0 {
		q := p // only this is moved to the heap
		b.pools[bits.Len(uint(c-1))].Put(&q)
	}
}
