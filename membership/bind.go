package membership

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
)

// bind opens both sockets. With port 0 the free TCP port may be taken for UDP,
// so it tries some.
func bind(addr string) (*net.TCPListener, *net.UDPConn, error) {
	tcp, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		return nil, nil, fmt.Errorf("membership: bind %s: %w", addr, err)
	}
	for range 10 {
		var l *net.TCPListener
		if l, err = net.ListenTCP("tcp", tcp); err != nil {
			break
		}
		a := l.Addr().(*net.TCPAddr)
		var s *net.UDPConn
		if s, err = net.ListenUDP("udp", &net.UDPAddr{IP: tcp.IP, Port: a.Port, Zone: a.Zone}); err == nil {
			return l, s, nil
		}
		defer l.Close() // only now, lest we get the same port again
		if tcp.Port != 0 {
			break
		}
	}
	return nil, nil, bindError(addr, err)
}

func bindError(addr string, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("membership: %s is taken by another process: choose another port, or 0 for any free one: %w", addr, err)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("membership: %s is no address of this host: bind one that it has (ip addr lists them): %w", addr, err)
	}
	return fmt.Errorf("membership: bind %s: %w", addr, err)
}

// advertised finds the address at which the others reach us.
func advertised(want string, bound netip.AddrPort) (netip.AddrPort, error) {
	if want == "" {
		if bound.Addr().IsUnspecified() {
			return netip.AddrPortFrom(hostAddr(), bound.Port()), nil
		}
		return bound, nil
	}
	host, port := splitAdvertise(want, fmt.Sprint(bound.Port()))
	a, err := net.ResolveTCPAddr("tcp", net.JoinHostPort(host, port))
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("membership: advertise %s: %w", want, err)
	}
	ap := addrPort(a)
	if ap.Port() == 0 {
		ap = netip.AddrPortFrom(ap.Addr(), bound.Port())
	}
	if !ap.Addr().IsValid() || ap.Addr().IsUnspecified() {
		return netip.AddrPort{}, fmt.Errorf("membership: advertise %s: others cannot reach that", want)
	}
	return ap, nil
}

// hostAddr returns an address of this host for others to use: IPv4 rather than
// IPv6, private rather than public, loopback if there is nothing else.
func hostAddr() netip.Addr {
	best, bestScore := netip.AddrFrom4([4]byte{127, 0, 0, 1}), 0
	all, err := net.InterfaceAddrs()
	if err != nil {
		return best
	}
	for _, a := range all {
		p, err := netip.ParsePrefix(a.String())
		if err != nil || !p.Addr().IsGlobalUnicast() {
			continue
		}
		score := 1
		if p.Addr().IsPrivate() {
			score++
		}
		if p.Addr().Is4() {
			score += 2
		}
		if score > bestScore {
			best, bestScore = p.Addr(), score
		}
	}
	return best
}

func addrPort(a net.Addr) netip.AddrPort {
	var ap netip.AddrPort
	switch a := a.(type) {
	case *net.TCPAddr:
		ap = a.AddrPort()
	case *net.UDPAddr:
		ap = a.AddrPort()
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
