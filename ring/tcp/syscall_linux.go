//go:build !386

// 386 has no system calls of its own for sockets.

package tcp

import (
	"syscall"
	"unsafe"
)

// A vector is what one call of sendmsg is told. It is part of a link, because
// what the kernel reads must not be on a stack that may move.
type vector struct {
	parts [2]syscall.Iovec
	msg   syscall.Msghdr
}

const now = syscall.MSG_DONTWAIT | syscall.MSG_NOSIGNAL

// send sends what the window takes of two buffers, at most strideBytes, without
// waiting.
func (v *vector) send(fd int, left *[2][]byte) (int, syscall.Errno) {
	total := min(len(left[0])+len(left[1]), strideBytes)
	if len(left[1]) == 0 {
		return transfer(syscall.SYS_SENDTO, fd, left[0], now)
	}
	if len(left[0]) == 0 {
		return transfer(syscall.SYS_SENDTO, fd, left[1][:total], now)
	}
	v.parts[0] = syscall.Iovec{Base: &left[0][0]}
	v.parts[0].SetLen(len(left[0]))
	v.parts[1] = syscall.Iovec{Base: &left[1][0]}
	v.parts[1].SetLen(total - len(left[0]))
	v.msg = syscall.Msghdr{Iov: &v.parts[0], Iovlen: 2}
	n, _, no := syscall.RawSyscall(syscall.SYS_SENDMSG, uintptr(fd), uintptr(unsafe.Pointer(&v.msg)), now)
	v.parts[1].Base = nil
	return int(n), no
}

func recv(fd int, p []byte) (int, syscall.Errno) {
	return transfer(syscall.SYS_RECVFROM, fd, p, syscall.MSG_DONTWAIT)
}

// transfer does not tell the scheduler that it is in a system call: it never
// waits in one, and a scheduler that is told may give our processor to another
// thread while the kernel copies.
func transfer(trap uintptr, fd int, p []byte, flags uintptr) (int, syscall.Errno) {
	n, _, no := syscall.RawSyscall6(trap, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), flags, 0, 0)
	return int(n), no
}

// duplicate returns another descriptor of the same file, which is not passed on
// to children.
func duplicate(fd int) (int, error) {
	n, _, no := syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), syscall.F_DUPFD_CLOEXEC, 0)
	if no != 0 {
		return -1, no
	}
	return int(n), nil
}
