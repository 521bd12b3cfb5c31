package shm

import (
	"errors"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A segment is memory that one end of a link writes and the other reads: a page
// of words, and a ring of bytes.
//
//	   0  sent     bytes that the owner has put into the ring, ever
//	 128  taken    bytes that the owner has taken out of the other end's ring, ever
//	 256  hungry   not 0 while the owner sleeps until the other end sends
//	 384  full     not 0 while the owner sleeps until the other end takes
//	4096  ring
//
// The words are 64 bits, in the byte order of the host. Each has two cache lines
// of its own, because processors fetch lines in pairs.
type segment struct {
	mem  []byte
	ring []byte
}

const (
	wordSent = iota
	wordTaken
	wordHungry
	wordFull

	wordBytes = 128
	pageBytes = 4096
)

// newSegment makes a segment. Its memory lives as long as it is mapped anywhere;
// the descriptor is for the other end, and the caller closes it.
func newSegment(ringBytes int) (_ *segment, fd int, err error) {
	mem, fd, err := newMemory(pageBytes+ringBytes, unix.MAP_POPULATE)
	if err != nil {
		return nil, -1, err
	}
	return &segment{mem: mem, ring: mem[pageBytes:]}, fd, nil
}

var errSegment = errors.New("shm: not a segment")

// adopt maps the segment of the other end, and closes the descriptor.
func adopt(fd int) (*segment, error) {
	mem, err := adoptMemory(fd, unix.MAP_POPULATE, func(size int64) bool {
		return size <= pageBytes+maxRing && validRing(int(size)-pageBytes)
	})
	if err != nil {
		return nil, err
	}
	return &segment{mem: mem, ring: mem[pageBytes:]}, nil
}

func (s *segment) unmap() {
	unmap(s.mem)
	s.mem, s.ring = nil, nil
}

// word returns one of the words. Only the owner may write to it.
func (s *segment) word(i int) *atomic.Uint64 {
	return (*atomic.Uint64)(unsafe.Pointer(&s.mem[i*wordBytes]))
}

// from returns the part of the ring from position at on, up to where it wraps.
func (s *segment) from(at uint64) []byte { return s.ring[at&uint64(len(s.ring)-1):] }
