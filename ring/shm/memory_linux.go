package shm

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// seals of memory that others map: its size never changes, so no access can
// fault, and who gets it cannot map it for writing, nor write to it. Our own
// mapping is older than the seals.
const seals = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_FUTURE_WRITE | unix.F_SEAL_SEAL

// newMemory makes memory that this process can write to, and those to whom it
// gives the descriptor can read.
func newMemory(size, flags int) (mem []byte, fd int, err error) {
	fd, err = unix.MemfdCreate("ringrun", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, -1, fmt.Errorf("shm: memfd_create: %w", err)
	}
	defer func() {
		if err != nil {
			unix.Close(fd)
		}
	}()
	if err := unix.Ftruncate(fd, int64(size)); err != nil {
		return nil, -1, fmt.Errorf("shm: segment of %d bytes: %w", size, err)
	}
	mem, err = mapMemory(fd, size, unix.PROT_READ|unix.PROT_WRITE, flags)
	if err != nil {
		return nil, -1, err
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
		unmap(mem)
		return nil, -1, fmt.Errorf("shm: seal a segment: %w", err)
	}
	return mem, fd, nil
}

// adoptMemory maps what another process has made for reading, and closes the
// descriptor. It takes nothing that could change its size, and nothing but
// ordinary memory.
func adoptMemory(fd, flags int, fits func(size int64) bool) ([]byte, error) {
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
	if !fits(st.Size) {
		return nil, fmt.Errorf("%w: %d bytes", errSegment, st.Size)
	}
	return mapMemory(fd, int(st.Size), unix.PROT_READ, flags)
}

// hugeBytes is the size of a huge page: of one, the processor must know only one
// address instead of 512.
const hugeBytes = 2 << 20

// mapMemory maps at a multiple of hugeBytes, if it maps so much.
func mapMemory(fd, size, prot, flags int) ([]byte, error) {
	var at unsafe.Pointer
	if size >= hugeBytes {
		at = alignedRoom(size)
	}
	if at != nil {
		flags |= unix.MAP_FIXED
	}
	p, err := unix.MmapPtr(fd, 0, at, uintptr(size), prot, unix.MAP_SHARED|flags)
	if err != nil {
		if at != nil {
			unix.MunmapPtr(at, uintptr(size))
		}
		return nil, fmt.Errorf("shm: map a segment of %d bytes: %w", size, err)
	}
	return unsafe.Slice((*byte)(p), size), nil
}

// alignedRoom reserves address space for size bytes at a multiple of hugeBytes,
// or returns nil.
func alignedRoom(size int) unsafe.Pointer {
	all := uintptr(size) + hugeBytes
	p, err := unix.MmapPtr(-1, 0, nil, all, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
	if err != nil {
		return nil
	}
	before := -uintptr(p) & (hugeBytes - 1)
	at := unsafe.Add(p, before)
	if before > 0 {
		unix.MunmapPtr(p, before)
	}
	end := (before + uintptr(size) + pageBytes - 1) &^ (pageBytes - 1)
	if end < all {
		unix.MunmapPtr(unsafe.Add(p, end), all-end)
	}
	return at
}

// hugePages asks for huge pages behind new memory that begins and ends at
// multiples of hugeBytes. Without them it works as well.
func hugePages(mem []byte) {
	if unix.Madvise(mem, unix.MADV_HUGEPAGE) == nil && unix.Madvise(mem, unix.MADV_POPULATE_WRITE) == nil {
		_ = unix.Madvise(mem, unix.MADV_COLLAPSE)
	}
}
