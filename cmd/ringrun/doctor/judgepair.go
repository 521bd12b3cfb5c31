package doctor

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"time"
)

const (
	slowRTT  = 10 * time.Millisecond
	slowRate = 12.5e6 // bytes/s: 100 Mbit/s
	lopsided = 4      // times as fast in one direction
	wholeMTU = 1280   // below, something is wrong
)

// A Pair is two hosts, as the first sees the second.
type Pair struct {
	From, To  string
	FromFacts Facts
	ToFacts   Facts
	Ways      []Way   // the first is the one that peers use
	Back      float64 // bandwidth the other way; 0: unknown
}

// SameMemory reports whether peers on both hosts share memory.
func (q Pair) SameMemory() bool { return q.FromFacts.Same != "" && q.FromFacts.Same == q.ToFacts.Same }

// JudgePair says what the ways from one host to another mean.
func JudgePair(q Pair) []Finding {
	p := &page{host: q.From, to: q.To}
	if len(q.Ways) == 0 {
		p.add(Fail, "path", q.To+" has no address that another host could use", "bring up its network", "no address")
		return p.findings
	}
	w := q.Ways[0]
	if w.TCP != Reached {
		p.unreached(q, w)
		return p.findings
	}
	if q.SameMemory() {
		p.ok("path", "shared memory: both are one machine")
	} else {
		p.ok("path", "TCP %s → %s%s", w.From, w.Addr, others(q))
	}
	if p.datagrams(q, w) {
		p.mtu(w)
	}
	if w.Stalled {
		p.add(Fail, "bandwidth", "short messages arrive, long ones do not: packets of full size are lost on the way",
			"see the MTU; or a firewall that cuts long connections", "what is sent in bulk does not arrive")
		return p.findings
	}
	p.speed(q, w)
	return p.findings
}

// others tells of the ways that are not used.
func others(q Pair) string {
	var works, fails []string
	for _, w := range q.Ways[1:] {
		switch {
		case slices.Contains(q.FromFacts.Addrs, w.Addr): // both have it: a bridge of containers, say
			fails = append(fails, w.Addr+" (both have it)")
		case w.TCP == Reached:
			works = append(works, w.Addr)
		default:
			fails = append(fails, fmt.Sprintf("%s (%s)", w.Addr, w.TCP))
		}
	}
	text := ""
	if len(works) > 0 {
		text += "; also by " + strings.Join(works, ", ")
	}
	if len(fails) > 0 {
		text += "; not by " + strings.Join(fails, ", ")
	}
	return text
}

func (p *page) unreached(q Pair, w Way) {
	for _, other := range q.Ways[1:] {
		if other.TCP == Reached && !slices.Contains(q.FromFacts.Addrs, other.Addr) {
			p.add(Fail, "path", fmt.Sprintf("peers on %s use an address that %s does not reach: %s", q.To, q.From, because(q, w)),
				fmt.Sprintf("%s is reached at %s: write that in -H, so that ssh and the peers use it", q.To, other.Addr), "%s: %s", w.Addr, w.Said)
			return
		}
	}
	p.add(Fail, "path", because(q, w), remedy(q, w), "%s: %s", w.Addr, w.Said)
}

// because says why an address was not reached. That somebody listens there is
// certain: its own agent has said so.
func because(q Pair, w Way) string {
	switch {
	case net.ParseIP(w.Addr).IsLoopback():
		return fmt.Sprintf("%s is known by a loopback address only, which means every host itself", q.To)
	case slices.Contains(q.FromFacts.Addrs, w.Addr):
		return fmt.Sprintf("both hosts have the address %s, so what %s sends there never leaves it", w.Addr, q.From)
	case w.TCP == Refused:
		return fmt.Sprintf("a firewall rejects the connection, or %s is also the address of another machine: %s listens there", w.Addr, q.To)
	case w.TCP == Silent:
		return "a firewall drops the packets, or the way back, without a word"
	case w.TCP == Unreachable:
		return fmt.Sprintf("%s, or a router, knows no way to that address, a firewall says so, or the host does not answer on its network", q.From)
	case w.TCP == Prohibited:
		return "a firewall forbids it, on " + q.From + " itself or on the way"
	case w.TCP == Stranger && w.Who != "":
		return fmt.Sprintf("at that address %s answers instead: two hosts have the same address", w.Who)
	case w.TCP == Stranger:
		return "something else answers at that address: two hosts have the same one, or a proxy stands between"
	}
	return "the system says so"
}

func remedy(q Pair, w Way) string {
	ports := q.ToFacts.Ports
	if ports == "" {
		ports = "1024-65535"
	}
	switch {
	case net.ParseIP(w.Addr).IsLoopback():
		return "name the hosts in -H by addresses of their network"
	case slices.Contains(q.FromFacts.Addrs, w.Addr):
		return "give each host an address of its own, or name them in -H by addresses that differ"
	case w.TCP == Unreachable:
		return fmt.Sprintf("ip route get %s on %s; ip addr on %s", w.Addr, q.From, q.To)
	case w.TCP == Stranger:
		return "give each host an address of its own; ip neigh on " + q.From + " tells who answers"
	}
	return fmt.Sprintf("let TCP and UDP from %s to ports %s of %s pass (nft list ruleset, iptables -L, security groups of the cloud)", q.From, ports, q.To)
}

// datagrams returns whether they arrive.
func (p *page) datagrams(q Pair, w Way) bool {
	if w.UDP == Reached {
		return true
	}
	p.add(Fail, "UDP", fmt.Sprintf("TCP reaches %s and UDP does not (%s): a firewall lets only TCP pass, and gossip between peers needs both", w.Addr, w.UDP),
		remedy(q, w), "%s: %s", w.Addr, w.UDP)
	return false
}

func (p *page) mtu(w Way) {
	m := w.MTU
	switch {
	case m.Believed == 0:
	case m.Passes == m.Believed && m.Passes < wholeMTU:
		p.add(Warn, "MTU", "packets are very small, so each byte costs more", "raise the MTU of the interface: ip link set DEV mtu 1500", "%d bytes", m.Passes)
	case m.Passes == m.Believed:
		p.ok("MTU", "%d bytes", m.Passes)
	case m.Passes == 0:
		p.add(Fail, "MTU", fmt.Sprintf("no large packet arrives, though the interface takes %d bytes, and nobody tells so: a black hole", m.Believed),
			"let ICMP (type 3 code 4; ICMPv6 type 2) pass on the way, or set the MTU of the interface lower: ip link set DEV mtu 1280", "not even %d bytes", packetSizes[0])
	default:
		p.add(Fail, "MTU", fmt.Sprintf("packets of more than %d bytes are lost without a word, though the interface takes %d: a tunnel on the way, and a firewall that drops ICMP", m.Passes, m.Believed),
			fmt.Sprintf("ip link set DEV mtu %d on both hosts, or let ICMP (type 3 code 4; ICMPv6 type 2) pass on the way", m.Passes), "%d bytes, not %d", m.Passes, m.Believed)
	}
}

func (p *page) speed(q Pair, w Way) {
	found := fmt.Sprintf("%s, round trip %s", rate(w.Bandwidth), short(w.RTT))
	switch {
	case q.SameMemory():
		p.ok("speed", "%s by TCP; shared memory is faster", found)
	case w.Bandwidth < slowRate:
		p.add(Warn, "speed", "the link is slow: a step must send about twice the bytes of the gradients over it",
			"-codec half or zstd sends fewer; a larger batch sends less often; ethtool DEV shows what the card has agreed on", "%s", found)
	case q.Back > lopsided*w.Bandwidth:
		p.add(Warn, "speed", fmt.Sprintf("the other way is %.0f times as fast (%s): half duplex, a busy link, or another route", q.Back/w.Bandwidth, rate(q.Back)),
			"ethtool DEV and ip route get on both hosts", "%s", found)
	case w.RTT > slowRTT:
		p.add(Warn, "speed", "the hosts are far apart, and each step waits for round trips: two for each peer of the ring",
			"hosts of one place; or a larger batch, so that there are fewer steps", "%s", found)
	default:
		p.ok("speed", "%s", found)
	}
}

func rate(bytes float64) string {
	bits := 8 * bytes
	if bits >= 1e9 {
		return fmt.Sprintf("%.1f Gbit/s", bits/1e9)
	}
	return fmt.Sprintf("%.0f Mbit/s", bits/1e6)
}
