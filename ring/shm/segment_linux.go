package shm

import (
	"errors"
	"fmt"
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

// seals of a segment: its size never changes, so no access can fault, and who
// gets it cannot map it for writing, nor write to it. Our own mapping is older
// than the seals.
const seals = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_FUTURE_WRITE | unix.F_SEAL_SEAL

// newSegment makes a segment. Its memory lives as long as it is mapped anywhere;
// the descriptor is for the other end, and the caller closes it.
func newSegment(ringBytes int) (_ *segment, fd int, err error) {
	fd, err = unix.MemfdCreate("ringrun", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, -1, fmt.Errorf("shm: memfd_create: %w", err)
	}
	defer func() {
		if err != nil {
			unix.Close(fd)
		}
	}()
	size := pageBytes + ringBytes
	if err := unix.Ftruncate(fd, int64(size)); err != nil {
		return nil, -1, fmt.Errorf("shm: segment of %d bytes: %w", size, err)
	}
	s, err := mapSegment(fd, size, unix.PROT_READ|unix.PROT_WRITE)
	if err != nil {
		return nil, -1, err
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
		s.unmap()
		return nil, -1, fmt.Errorf("shm: seal a segment: %w", err)
	}
	return s, fd, nil
}

var errSegment = errors.New("shm: not a segment")

// adopt maps the segment of the other end, and closes the descriptor. It takes
// nothing that could change its size, and nothing but ordinary memory.
func adopt(fd int) (*segment, error) {
	defer unix.Close(fd)
	const must = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW
	if got, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0); err != nil || got&must != must {
		return nil, fmt.Errorf("%w: seals %#x, want at least %#x", errSegment, got, must)
	}
	var fs unix.Statfs_t
	if err := unix.Fstatfs(fd, &fs); err != nil || fs.Type != unix.TMPFS_MAGIC {
		return nil, fmt.Errorf("%w: in a file system of type %#x", errSegment, fs.Type)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, fmt.Errorf("%w: %w", errSegment, err)
	}
	if st.Size > pageBytes+maxRing || !validRing(int(st.Size)-pageBytes) {
		return nil, fmt.Errorf("%w: %d bytes", errSegment, st.Size)
	}
	return mapSegment(fd, int(st.Size), unix.PROT_READ)
}

func mapSegment(fd, size, prot int) (*segment, error) {
	mem, err := unix.Mmap(fd, 0, size, prot, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return nil, fmt.Errorf("shm: map a segment of %d bytes: %w", size, err)
	}
	return &segment{mem: mem, ring: mem[pageBytes:]}, nil
}

func (s *segment) unmap() {
	unix.Munmap(s.mem) // cannot fail: it is what Mmap has returned
	s.mem, s.ring = nil, nil
}

// word returns one of the words. Only the owner may write to it.
func (s *segment) word(i int) *atomic.Uint64 {
	return (*atomic.Uint64)(unsafe.Pointer(&s.mem[i*wordBytes]))
}

// from returns the part of the ring from position at on, up to where it wraps.
func (s *segment) from(at uint64) []byte { return s.ring[at&uint64(len(s.ring)-1):] }
