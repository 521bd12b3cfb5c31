package main

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
)

// A host is a place where workers run.
type host struct {
	name  string // as ssh understands it, without brackets
	slots int
	local bool // this machine
	via   via  // how else to get there
}

// A via is a way to run a shell on another host.
type via int

const (
	viaSSH   via = iota
	viaSlurm     // srun, in the allocation of a Slurm job
)

// address is how other hosts may know it: the name without a user.
func (h host) address() string { return h.name[strings.LastIndex(h.name, "@")+1:] }

// loopback reports whether only this machine knows it by that name.
func (h host) loopback() bool {
	ip := net.ParseIP(h.address())
	return strings.EqualFold(h.address(), "localhost") || ip != nil && ip.IsLoopback()
}

// parseHosts reads "a:2,me@b,[fe80::1]:4"; one slot is the default.
func parseHosts(list string) ([]host, error) {
	if list == "" {
		return nil, nil
	}
	var hosts []host
	seen := map[string]bool{}
	for s := range strings.SplitSeq(list, ",") {
		h, err := parseHost(s)
		if err != nil {
			return nil, err
		}
		if seen[h.name] {
			return nil, fmt.Errorf("host %s is named twice: name it once, with all its slots (%s:N)", h.name, h.name)
		}
		seen[h.name] = true
		h.local = isLocal(h)
		hosts = append(hosts, h)
	}
	return hosts, nil
}

func parseHost(s string) (host, error) {
	name, slots := s, "1"
	if open := strings.Index(s, "["); open >= 0 {
		shut := strings.Index(s, "]")
		if shut < open || net.ParseIP(zoneless(s[open+1:shut])) == nil {
			return host{}, fmt.Errorf("%q is not [address]:slots", s)
		}
		rest := s[shut+1:]
		if rest != "" && rest[0] != ':' {
			return host{}, fmt.Errorf("%q is not [address]:slots", s)
		}
		name = s[:open] + s[open+1:shut]
		if rest != "" {
			slots = rest[1:]
		}
	} else if strings.Count(s, ":") > 1 {
		return host{}, fmt.Errorf("%q: an IPv6 address stands in brackets, as in [::1]:2", s)
	} else if before, after, ok := strings.Cut(s, ":"); ok {
		name, slots = before, after
	}
	n, err := strconv.Atoi(slots)
	if err != nil || n < 1 {
		return host{}, fmt.Errorf("%q: %q is not a number of slots, 1 or more", s, slots)
	}
	if !validHostName(name) {
		return host{}, fmt.Errorf("%q is not a host name", name)
	}
	return host{name: name, slots: n}, nil
}

// validHostName keeps what ssh or a shell would take for something else from
// reaching them.
func validHostName(s string) bool {
	if s == "" || s[0] == '-' || s[0] == '@' || s[len(s)-1] == '@' {
		return false
	}
	for _, r := range s {
		if !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune(".-_@:%", r)) {
			return false
		}
	}
	return true
}

func zoneless(ip string) string {
	ip, _, _ = strings.Cut(ip, "%")
	return ip
}

// isLocal reports whether the name means this machine and this user, so that
// ssh is not needed.
func isLocal(h host) bool {
	if strings.Contains(h.name, "@") {
		return false
	}
	if h.loopback() {
		return true
	}
	if ip := net.ParseIP(zoneless(h.name)); ip != nil {
		return isOwnAddress(ip)
	}
	own, err := os.Hostname()
	if err != nil {
		return false
	}
	short, _, _ := strings.Cut(own, ".")
	return strings.EqualFold(h.name, own) || strings.EqualFold(h.name, short)
}

// placeWorkers fills the hosts in order; n = 0 takes all slots. The result maps
// each worker to the index of its host.
func placeWorkers(hosts []host, n int) ([]int, error) {
	var place []int
	for i, h := range hosts {
		for range h.slots {
			place = append(place, i)
		}
	}
	if n > len(place) {
		return nil, fmt.Errorf("the hosts have only %d slots; give them more, as in -H a:4", len(place))
	}
	if n > 0 {
		place = place[:n]
	}
	return place, nil
}
