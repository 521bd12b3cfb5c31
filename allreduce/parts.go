package allreduce

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"

	"github.com/ringrun/ringrun/ring"
)

// A cut says where the parts of a vector begin and end, one for each rank.
type cut struct {
	n, size int
	bounds  []int // nil: even, see ring.Chunk
}

// newCut checks the lengths of parts, by rank; nil means the even cut.
func newCut(n, size int, parts []int) (cut, error) {
	k := cut{n: n, size: size}
	if parts == nil {
		return k, nil
	}
	if len(parts) != size {
		return k, fmt.Errorf("%w: %d parts for %d ranks", ErrParts, len(parts), size)
	}
	bounds, even, at := make([]int, 0, size+1), true, 0
	for rank, length := range parts {
		if length < 0 || length > n-at {
			return k, fmt.Errorf("%w: part %d of %d elements, after %d of %d", ErrParts, rank, length, at, n)
		}
		lo, hi := ring.Chunk(n, size, rank)
		even = even && lo == at && hi-lo == length
		bounds = append(bounds, at)
		at += length
	}
	if at != n {
		return k, fmt.Errorf("%w: parts of %d elements together, the vector has %d", ErrParts, at, n)
	}
	if !even {
		k.bounds = append(bounds, at)
	}
	return k, nil
}

// part returns the bounds of a rank's part.
func (k cut) part(rank int) (lo, hi int) {
	if k.bounds == nil {
		return ring.Chunk(k.n, k.size, rank)
	}
	return k.bounds[rank], k.bounds[rank+1]
}

// Part returns the bounds of this rank's part of a vector of n elements where
// no parts are named: all are of n/size elements, the first n%size of one more.
func (c *Comm) Part(n int) (lo, hi int) { return ring.Chunk(n, c.size, c.rank) }

// A form is 16 bits of a checksum over what peers must agree on and no other
// field of the header says: the upper half of Header.Root.
type form uint16

func (k cut) form() form {
	if k.bounds == nil {
		return 0
	}
	return formOf(k.bounds)
}

// formOf returns a form that is not 0.
func formOf(numbers []int) form {
	h := crc32.NewIEEE()
	for _, n := range numbers {
		var b [8]byte
		binary.LittleEndian.PutUint64(b[:], uint64(n))
		h.Write(b[:])
	}
	return form(h.Sum32()%math.MaxUint16 + 1)
}
