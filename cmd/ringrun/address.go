package main

import (
	"net"
	"time"
)

// isOwnAddress reports whether ip belongs to an interface of this machine.
func isOwnAddress(ip net.IP) bool {
	for _, own := range ownAddresses() {
		if own.Equal(ip) {
			return true
		}
	}
	return false
}

func ownAddresses() []net.IP {
	var ips []net.IP
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok {
			ips = append(ips, n.IP)
		}
	}
	return ips
}

// bindAddress chooses the address of this machine at which the peers on other
// hosts reach its workers. Names of interfaces say nothing about that, routes
// do. In this order:
//   - an address by which others have reached this machine already;
//   - the address from which this machine sends to one of them;
//   - any address that is valid beyond this machine.
//
// With nobody to reach, and when all that is known is loopback, it is loopback.
func bindAddress(reached, toward []string) string {
	for _, s := range reached {
		if ip := net.ParseIP(s); ip != nil && !ip.IsLoopback() && isOwnAddress(ip) {
			return s
		}
	}
	loopback := ""
	for _, t := range toward {
		ip := sourceAddress(t)
		switch {
		case ip == nil:
		case !ip.IsLoopback():
			return ip.String()
		case loopback == "":
			loopback = ip.String()
		}
	}
	if loopback != "" {
		return loopback
	}
	if len(reached)+len(toward) > 0 {
		for _, ip := range ownAddresses() {
			if ip.IsGlobalUnicast() {
				return ip.String()
			}
		}
	}
	return "127.0.0.1"
}

// sourceAddress is the address from which this machine would send to the other;
// nothing is sent. It is nil if there is no way.
func sourceAddress(other string) net.IP {
	d := net.Dialer{Timeout: 2 * time.Second} // for the name's sake
	c, err := d.Dial("udp", net.JoinHostPort(other, "9"))
	if err != nil {
		return nil
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).IP
}
