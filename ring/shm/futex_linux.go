package shm

import (
	"encoding/binary"
	"math"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The operations of futex(2), between processes.
const (
	futexWait = 0
	futexWake = 1
)

// futexOf returns the address of the half of the word that changes with every
// byte. The memory is none of Go's, so it does not move.
func futexOf(word *atomic.Uint64) uintptr {
	p := unsafe.Pointer(word)
	if binary.NativeEndian.Uint16([]byte{0, 1}) == 1 { // big-endian
		p = unsafe.Add(p, 4)
	}
	return uintptr(p)
}

// futexSleep returns when somebody wakes the word, it is not what was seen any
// more, or a time has passed.
func futexSleep(word *atomic.Uint64, seen uint64, d time.Duration) {
	t := unix.NsecToTimespec(int64(d))
	unix.Syscall6(unix.SYS_FUTEX, futexOf(word), futexWait, uintptr(uint32(seen)), uintptr(unsafe.Pointer(&t)), 0, 0)
}

func wakeOne(word *atomic.Uint64) { futexWakeUp(word, 1) }
func wakeAll(word *atomic.Uint64) { futexWakeUp(word, math.MaxInt32) }

func futexWakeUp(word *atomic.Uint64, most uintptr) {
	unix.RawSyscall6(unix.SYS_FUTEX, futexOf(word), futexWake, most, 0, 0, 0)
}
