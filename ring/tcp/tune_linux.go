package tcp

import (
	"net"
	"syscall"
)

// tune chooses a congestion control for a connection that stays on this host:
// there is nothing to be congested, and BBR, the default of some systems, paces
// and so costs a third of the bandwidth. Without permission it stays as it is.
func tune(c *net.TCPConn) {
	if !isLocal(c) {
		return
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	raw.Control(func(fd uintptr) {
		for _, name := range []string{"cubic", "reno"} {
			if syscall.SetsockoptString(int(fd), syscall.IPPROTO_TCP, syscall.TCP_CONGESTION, name) == nil {
				return
			}
		}
	})
}
