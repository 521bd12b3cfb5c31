package tcp

import (
	"net"
	"slices"
	"syscall"
)

// tune chooses a congestion control for a connection that stays on this host:
// there is nothing to be congested, and BBR, the default of some systems, paces
// and so costs a third of the bandwidth. Without permission it stays as it is.
func tune(c *net.TCPConn) {
	addr, ok := c.RemoteAddr().(*net.TCPAddr)
	if !ok || !onThisHost(addr.IP) {
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

// onThisHost reports whether an address is one of this host's own.
func onThisHost(ip net.IP) bool {
	if ip.IsLoopback() {
		return true
	}
	own, _ := net.InterfaceAddrs() // without them it only stays slower
	return slices.ContainsFunc(own, func(a net.Addr) bool {
		n, ok := a.(*net.IPNet)
		return ok && n.IP.Equal(ip)
	})
}
