package paths

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// maxOwn is how many addresses of a host are tried.
const maxOwn = 16

// Own are the addresses of this machine that may be of use to others; loopback if
// there is no other.
func Own() ([]Address, error) {
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	var all []Address
	for _, i := range interfaces {
		if i.Flags&net.FlagUp == 0 || i.Flags&net.FlagLoopback != 0 {
			continue
		}
		addrs, err := i.Addrs()
		if err != nil {
			continue // it is gone
		}
		for _, a := range addrs {
			p, err := netip.ParsePrefix(a.String())
			if err == nil && p.Addr().IsGlobalUnicast() && len(all) < maxOwn {
				all = append(all, Address{IP: p.Addr().Unmap(), Bits: p.Bits(), Iface: i.Name, Mbits: mbits(i.Name)})
			}
		}
	}
	if len(all) == 0 { // others may be on this machine, too
		all = []Address{{IP: netip.AddrFrom4([4]byte{127, 0, 0, 1}), Bits: 8, Iface: "loopback"}}
	}
	return all, nil
}

// mbits is what Linux says of an interface; 0 if it says nothing.
func mbits(iface string) int {
	text, err := os.ReadFile(filepath.Join("/sys/class/net", iface, "speed"))
	if err != nil {
		return 0
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// A Filter is what the user said about networks: some of them, by their addresses
// or by the names of interfaces. Without any it lets all through.
type Filter struct {
	Prefixes []netip.Prefix `json:"prefixes,omitempty"`
	Ifaces   []string       `json:"ifaces,omitempty"`
}

// ParseFilter reads "10.1.0.0/16,eth1": networks, addresses and interfaces.
func ParseFilter(list string) (f Filter, err error) {
	for s := range strings.SplitSeq(list, ",") {
		s = strings.TrimSpace(s)
		if p, err := netip.ParsePrefix(s); err == nil {
			f.Prefixes = append(f.Prefixes, p.Masked())
		} else if a, err := netip.ParseAddr(s); err == nil {
			f.Prefixes = append(f.Prefixes, netip.PrefixFrom(a, a.BitLen()))
		} else if s == "" || strings.ContainsAny(s, "/ ") {
			return f, &net.ParseError{Type: "network, as in 10.1.0.0/16, or interface", Text: s}
		} else {
			f.Ifaces = append(f.Ifaces, s)
		}
	}
	return f, nil
}

// Empty reports whether it lets everything through.
func (f Filter) Empty() bool { return len(f.Prefixes)+len(f.Ifaces) == 0 }

// Lets reports whether the user wants to use an address.
func (f Filter) Lets(a Address) bool {
	return f.Empty() || slices.Contains(f.Ifaces, a.Iface) ||
		slices.ContainsFunc(f.Prefixes, func(p netip.Prefix) bool { return p.Contains(a.IP) })
}
