// Package paths finds by which of its addresses each host is reached by the others.
//
// Names of interfaces and of hosts say nothing about that: /etc/hosts may call a
// host 127.0.1.1, bridges of containers have the same address everywhere, and a
// network may be dead. So every host listens, every other tries all of its
// addresses, and [Choose] takes the ones that work:
//
//	launcher          host a                    host b
//	  Listen  ──────▶ listens, tells addresses
//	  Listen  ──────────────────────────────────▶ the same
//	  Try b   ──────▶ dials all addresses of b ─▶ says its name
//	  Try a   ──────────────────────────────────▶ dials all addresses of a
//	  Close   ──────▶                           ▶
package paths

import (
	"cmp"
	"net/netip"
	"slices"
)

// A Token is what those who belong together know, and the name of one of them.
type Token [16]byte

// An Address is one that a host has, or that it is known by.
type Address struct {
	IP    netip.Addr `json:"ip"`
	Bits  int        `json:"bits,omitempty"`  // of its network
	Iface string     `json:"iface,omitempty"` // none: a router translates it
	Mbits int        `json:"mbits,omitempty"` // of the interface, as its driver says; 0 is unknown
	SSH   bool       `json:"ssh,omitempty"`   // ssh came this way
}

// String is the address and the interface.
func (a Address) String() string {
	if a.Iface == "" {
		return a.IP.String()
	}
	return a.IP.String() + " (" + a.Iface + ")"
}

func (a Address) network() netip.Prefix {
	p, err := a.IP.Prefix(a.Bits)
	if err != nil || a.Iface == "" {
		return netip.Prefix{}
	}
	return p
}

// A Host is one that others are to reach.
type Host struct {
	Addresses []Address
	Tries     [][]Result // by who tries and by address; nil: it tried nothing
}

// by counts those who reach an address, of those who tried.
func (h Host) by(address int) (n int) {
	for _, results := range h.Tries {
		if address < len(results) && results[address].Reached {
			n++
		}
	}
	return n
}

// unknownMbits is what is taken for interfaces whose driver does not say: virtual
// ones mostly.
const unknownMbits = 1000

// A network is judged by all hosts together, so that they choose the same.
type network struct {
	hosts int // have an address in it that all others reach
	ssh   int // are reached by ssh in it
	mbits int // of the slowest
}

// Choose returns for each host the index of the address that the others shall use:
// one that most of them reach; among those, in the network that serves most hosts,
// the fastest, the one that ssh uses. It is -1 for a host that nobody reaches.
func Choose(hosts []Host) []int {
	networks := judge(hosts)
	choice := make([]int, len(hosts))
	for i, h := range hosts {
		order := make([]int, len(h.Addresses))
		for a := range order {
			order[a] = a
		}
		slices.SortStableFunc(order, func(x, y int) int {
			a, b := h.Addresses[x], h.Addresses[y]
			m, n := networks[a.network()], networks[b.network()]
			return cmp.Or(
				cmp.Compare(h.by(y), h.by(x)),
				cmp.Compare(n.hosts, m.hosts),
				cmp.Compare(n.mbits, m.mbits),
				cmp.Compare(n.ssh, m.ssh),
				prefer(a.SSH, b.SSH),
				prefer(a.IP.Is4(), b.IP.Is4()),
			)
		})
		choice[i] = -1
		if len(order) > 0 && (len(hosts) == 1 || h.by(order[0]) > 0) {
			choice[i] = order[0]
		}
	}
	return choice
}

func prefer(x, y bool) int {
	switch {
	case x == y:
		return 0
	case x:
		return -1
	}
	return 1
}

func judge(hosts []Host) map[netip.Prefix]network {
	networks := map[netip.Prefix]network{}
	for _, h := range hosts {
		best := map[netip.Prefix]network{} // a host counts once, however many addresses it has
		for a, addr := range h.Addresses {
			p := addr.network()
			if !p.IsValid() || h.by(a) < len(hosts)-1 {
				continue
			}
			n := network{hosts: 1, mbits: cmp.Or(addr.Mbits, unknownMbits)}
			if addr.SSH || best[p].ssh > 0 {
				n.ssh = 1
			}
			n.mbits = max(n.mbits, best[p].mbits)
			best[p] = n
		}
		for p, n := range best {
			all, seen := networks[p]
			if !seen {
				all.mbits = n.mbits
			}
			networks[p] = network{hosts: all.hosts + 1, ssh: all.ssh + n.ssh, mbits: min(all.mbits, n.mbits)}
		}
	}
	return networks
}
