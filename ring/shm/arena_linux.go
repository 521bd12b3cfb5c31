package shm

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// An Arena is memory for vectors that all peers of the host may read, so that
// they are reduced where they lie. Only address space is reserved; pages are
// taken when they are touched, and kept until the arena ends.
//
// It may serve several transports, one after the other. It ends when it is
// closed, no ring uses it and all that was allocated is free again.
type Arena struct {
	mem []byte

	mu     sync.Mutex
	fd     int         // -1 when closed
	users  int         // boards
	used   map[int]int // sizes by offset
	free   []span      // in order, with something used between any two
	top    int         // where nothing has been used yet
	zeroed int         // from there on memory has never been used
}

type span struct{ at, size int }

const (
	lineBytes = 128 // processors fetch lines in pairs
	maxArena  = 1 << 40
	minArena  = 64 << 20
)

// ErrArena reports that an arena is full or closed.
var ErrArena = errors.New("shm: no room in the arena")

// NewArena reserves address space of the size of this host's memory.
func NewArena() (*Arena, error) {
	var lastErr error
	for size := arenaSize(); size >= minArena; size /= 2 {
		mem, fd, err := newMemory(size, unix.MAP_NORESERVE)
		if err == nil {
			return &Arena{mem: mem, fd: fd, used: map[int]int{}}, nil
		}
		lastErr = err
	}
	return nil, lastErr
}

// arenaSize respects the limits of this process: of files, and of the address
// space, in which the arenas of others must have room, too.
func arenaSize() int {
	size := uint64(minArena)
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		size = max(size, uint64(info.Totalram)*uint64(info.Unit))
	}
	size = min(size, maxArena)
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_FSIZE, &limit) == nil {
		size = min(size, limit.Cur)
	}
	if unix.Getrlimit(unix.RLIMIT_AS, &limit) == nil {
		size = min(size, limit.Cur/64)
	}
	return max(minArena, int(size)&^(pageBytes-1))
}

// Alloc returns zeros, aligned to 128 bytes, or to a page, small or huge, if they
// fill one. The
// error wraps ErrArena if there is no room.
func (a *Arena) Alloc(bytes int) ([]byte, error) {
	if bytes < 0 || bytes > maxArena {
		return nil, fmt.Errorf("%w: %d bytes", ErrArena, bytes)
	}
	if bytes == 0 {
		return []byte{}, nil
	}
	align := lineBytes
	switch {
	case bytes >= hugeBytes:
		align = hugeBytes
	case bytes >= pageBytes:
		align = pageBytes
	}
	size := roundUp(bytes, align)
	a.mu.Lock()
	defer a.mu.Unlock()
	at, ok := a.find(size, align)
	if !ok || a.fd < 0 {
		return nil, fmt.Errorf("%w: %d bytes", ErrArena, bytes)
	}
	a.used[at] = size
	clear(a.mem[at:max(at, min(at+size, a.zeroed))])
	if fresh := max(at, roundUp(a.zeroed, hugeBytes)); align == hugeBytes && fresh < at+size {
		hugePages(a.mem[fresh : at+size])
	}
	a.zeroed = max(a.zeroed, at+size)
	return a.mem[at : at+bytes : at+bytes], nil
}

// find takes the first place that is large enough.
func (a *Arena) find(size, align int) (at int, ok bool) {
	for i, s := range a.free {
		at := roundUp(s.at, align)
		if at+size > s.at+s.size {
			continue
		}
		rest := []span{{s.at, at - s.at}, {at + size, s.at + s.size - at - size}}
		rest = slices.DeleteFunc(rest, func(s span) bool { return s.size == 0 })
		a.free = slices.Replace(a.free, i, i+1, rest...)
		return at, true
	}
	at = roundUp(a.top, align)
	if size > len(a.mem)-at {
		return 0, false
	}
	if at > a.top {
		a.free = append(a.free, span{a.top, at - a.top})
	}
	a.top = at + size
	return at, true
}

// Free takes back what Alloc has returned, and ignores other memory.
func (a *Arena) Free(b []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	at, ok := a.place(b)
	size := a.used[at]
	if !ok || size == 0 || cap(b) == 0 {
		return
	}
	delete(a.used, at)
	i, _ := slices.BinarySearchFunc(a.free, at, func(s span, at int) int { return s.at - at })
	a.free = slices.Insert(a.free, i, span{at, size})
	a.join(i)
	a.join(i - 1)
	if n := len(a.free); n > 0 && a.free[n-1].at+a.free[n-1].size == a.top {
		a.top = a.free[n-1].at
		a.free = a.free[:n-1]
	}
	a.end()
}

// join makes one span of i and the next one if nothing lies between them.
func (a *Arena) join(i int) {
	if i < 0 || i+1 >= len(a.free) || a.free[i].at+a.free[i].size != a.free[i+1].at {
		return
	}
	a.free[i].size += a.free[i+1].size
	a.free = slices.Delete(a.free, i+1, i+2)
}

// place returns where in the arena b begins.
func (a *Arena) place(b []byte) (at int, ok bool) {
	p, begin := uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(unsafe.Pointer(unsafe.SliceData(a.mem)))
	return int(p - begin), p >= begin && p < begin+uintptr(len(a.mem))
}

// Close ends the arena as soon as nobody uses it any more.
func (a *Arena) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.fd >= 0 {
		unix.Close(a.fd)
		a.fd = -1
	}
	a.end()
	return nil
}

// lend returns a descriptor of the arena, for others to map, which the caller
// closes. It must be followed by release.
func (a *Arena) lend() (fd int, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.fd < 0 {
		return -1, fmt.Errorf("%w: closed", ErrArena)
	}
	fd, err = unix.FcntlInt(uintptr(a.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err == nil {
		a.users++
	}
	return fd, err
}

func (a *Arena) release() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.users--
	a.end()
}

// end unmaps the arena if nobody can touch it any more. It is called with a.mu
// held.
func (a *Arena) end() {
	if a.fd < 0 && a.users == 0 && len(a.used) == 0 && a.mem != nil {
		unmap(a.mem)
		a.mem, a.free, a.top = nil, nil, 0
	}
}

func roundUp(n, to int) int { return (n + to - 1) &^ (to - 1) }
