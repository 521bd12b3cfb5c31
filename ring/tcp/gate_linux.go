//go:build !386

package tcp

import (
	"os"
	"sync"
	"syscall"
	"time"
)

// A gate is where one goroutine at a time sleeps until a descriptor is ready for
// one direction. It is an epoll instance of its own, which Go's netpoller knows
// instead of the descriptor, and it is armed only while somebody sleeps.
type gate struct {
	mu    sync.Mutex // held while somebody sleeps
	fd    int
	ready uint32 // the events that it waits for
	file  *os.File
	raw   syscall.RawConn
	armed bool
	woken [1]syscall.EpollEvent
	look  func(ep uintptr) bool
	err   error // of the system call that arms
	shut  bool  // nobody may wait any more, but the last; guarded by mu
}

func newGate(fd int, ready uint32) (*gate, error) {
	ep, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	if err := syscall.SetNonblock(ep, true); err != nil {
		syscall.Close(ep)
		return nil, err
	}
	g := &gate{fd: fd, ready: ready, file: os.NewFile(uintptr(ep), "epoll")}
	g.look = g.check
	err = syscall.EpollCtl(ep, syscall.EPOLL_CTL_ADD, fd, &syscall.EpollEvent{Events: oneShot, Fd: int32(fd)})
	if err == nil {
		err = g.file.SetDeadline(time.Time{}) // fails where the netpoller does not know it
	}
	if err == nil {
		g.raw, err = g.file.SyscallConn()
	}
	if err != nil {
		g.file.Close()
		return nil, err
	}
	return g, nil
}

const oneShot = 1 << 30 // syscall.EPOLLONESHOT

// wait sleeps until the descriptor is ready, or in error. It may return too
// early, and fails when it is kicked.
func (g *gate) wait() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut {
		return os.ErrDeadlineExceeded
	}
	return g.sleep()
}

// sleep is wait of whoever has the gate for itself.
func (g *gate) sleep() error {
	g.armed = false
	if err := g.raw.Read(g.look); err != nil {
		return err
	}
	return g.err
}

// check arms the gate the first time. The second time the gate has fired, and
// what it says must be taken out, or it would not fire again.
func (g *gate) check(ep uintptr) bool {
	if !g.armed {
		g.armed = true
		e := syscall.EpollEvent{Events: g.ready | oneShot, Fd: int32(g.fd)}
		g.err = syscall.EpollCtl(int(ep), syscall.EPOLL_CTL_MOD, g.fd, &e)
		return g.err != nil
	}
	syscall.EpollWait(int(ep), g.woken[:], 0)
	return true
}

// kick sets the time from which on wait fails.
func (g *gate) kick(at time.Time) { g.file.SetDeadline(at) }

// keep takes the gate from all others, who were kicked, until a time at which sleep
// fails. A kick is forgotten when a later time is set: who was kicked and has not
// woken yet, or was about to wait, must be out of here before that.
func (g *gate) keep(until time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = true
	g.file.SetDeadline(until)
}

// close ends the gate. Nobody may be waiting.
func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.file.Close()
}
