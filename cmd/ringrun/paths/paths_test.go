package paths

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

// host reads "10.0.0.1/24 eth0 1000 ssh: yes no; …": addresses, and who of the
// others reaches each.
func host(t *testing.T, self int, text string) (h Host) {
	t.Helper()
	for a, part := range strings.Split(text, "; ") {
		left, right, _ := strings.Cut(part, ": ")
		words, reached := strings.Fields(left), strings.Fields(right)
		p, err := netip.ParsePrefix(words[0])
		if err != nil {
			t.Fatal(err)
		}
		addr := Address{IP: p.Addr(), Bits: p.Bits(), SSH: slices.Contains(words, "ssh")}
		if len(words) > 1 && words[1] != "ssh" {
			addr.Iface = words[1]
		}
		for _, w := range words[1:] {
			fmt.Sscan(w, &addr.Mbits)
		}
		h.Addresses = append(h.Addresses, addr)
		for i, r := range reached {
			who := i
			if i >= self {
				who++
			}
			for len(h.Tries) <= who {
				h.Tries = append(h.Tries, nil)
			}
			for len(h.Tries[who]) <= a {
				h.Tries[who] = append(h.Tries[who], Result{})
			}
			h.Tries[who][a].Reached = r == "yes"
		}
	}
	return h
}

func TestChoose(t *testing.T) {
	for name, tt := range map[string]struct {
		hosts []string
		want  []int
	}{
		"one is reached":         {[]string{"172.17.0.1/16 docker0: no; 10.0.0.1/24 eth0: yes", "172.17.0.1/16 docker0: no; 10.0.0.2/24 eth0: yes"}, []int{1, 1}},
		"ssh's, if both are":     {[]string{"10.0.0.1/24 eth0: yes; 10.1.0.1/24 eth1 ssh: yes", "10.0.0.2/24 eth0: yes; 10.1.0.2/24 eth1 ssh: yes"}, []int{1, 1}},
		"the faster before that": {[]string{"10.0.0.1/24 eth0 1000 ssh: yes; 10.1.0.1/24 eth1 25000: yes", "10.0.0.2/24 eth0 1000 ssh: yes; 10.1.0.2/24 eth1 25000: yes"}, []int{1, 1}},
		"as fast as the slowest": {[]string{"10.0.0.1/24 eth0 1000: yes; 10.1.0.1/24 eth1 25000: yes", "10.0.0.2/24 eth0 1000: yes; 10.1.0.2/24 wg0 10: yes"}, []int{0, 0}},
		"the network of all": {[]string{
			"10.0.0.1/24 eth0 40000: yes yes; 10.1.0.1/24 eth1: yes yes",
			"10.0.0.2/24 eth0 40000: yes yes; 10.1.0.2/24 eth1: yes yes",
			"10.1.0.3/24 eth0: yes yes"}, []int{1, 1, 0}},
		"most, if none by all":   {[]string{"10.0.0.1/24 a: yes no; 10.1.0.1/24 b: no no", "10.0.0.2/24 a: no yes; 10.1.0.2/24 b: yes yes", "10.0.0.3/24 a: yes yes"}, []int{0, 1, 0}},
		"nobody":                 {[]string{"10.0.0.1/24 a: no; 10.1.0.1/24 b: no", "10.0.0.2/24 a: yes"}, []int{-1, 0}},
		"IPv4, all else equal":   {[]string{"fd00::1/64 eth0: yes; 10.0.0.1/24 eth0: yes", "fd00::2/64 eth0: yes; 10.0.0.2/24 eth0: yes"}, []int{1, 1}},
		"one behind a router":    {[]string{"10.0.0.1/24 eth0: no; 203.0.113.5/32 ssh: yes", "192.0.2.7/24 eth0: yes"}, []int{1, 0}},
		"alone":                  {[]string{"10.0.0.1/24 eth0 100; 10.1.0.1/24 eth1 1000"}, []int{1}},
		"alone without anything": {nil, []int{}},
	} {
		var hosts []Host
		for i, text := range tt.hosts {
			hosts = append(hosts, host(t, i, text))
		}
		if got := Choose(hosts); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
}

// Only who has the token is answered, and only the right name counts.
func TestTry(t *testing.T) {
	token, name, other := Token{1}, Token{2}, Token{3}
	d, err := Open(token, name)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	loopback := []netip.Addr{netip.MustParseAddr("127.0.0.1")}
	begin := time.Now()
	for _, tt := range []struct {
		token Token
		to    Target
		want  Result
	}{
		{token, Target{name, d.Port, loopback}, Result{Reached: true}},
		{token, Target{other, d.Port, loopback}, Result{Why: "another machine answers"}},
		{other, Target{name, d.Port, loopback}, Result{Why: "another machine answers"}},
		{token, Target{name, 1, loopback}, Result{Why: "refused"}},
	} {
		if got := Try(t.Context(), tt.token, []Target{tt.to})[0][0]; got != tt.want {
			t.Errorf("%+v: %+v, want %+v", tt.to, got, tt.want)
		}
	}
	if d := time.Since(begin); d > 4*tryTime { // as when each waited for an answer
		t.Errorf("that took %v", d)
	}
	silent := Target{name, mute.Addr().(*net.TCPAddr).Port, loopback}
	if got := Try(t.Context(), token, []Target{silent})[0][0]; got.Why != "no answer" {
		t.Errorf("who accepts and says nothing: %+v", got)
	}
}

func TestFilter(t *testing.T) {
	for list, want := range map[string]string{
		"10.1.0.0/16":    "10.1.2.3 (eth0), 10.1.9.9 (wg0)",
		"eth0,wg0":       "10.1.2.3 (eth0), fd00::1 (eth0), 10.1.9.9 (wg0)",
		"10.1.9.9, eth7": "10.1.9.9 (wg0)",
		"fd00::/8":       "fd00::1 (eth0)",
	} {
		f, err := ParseFilter(list)
		if err != nil {
			t.Errorf("%s: %v", list, err)
		}
		var got []string
		for _, s := range []string{"10.1.2.3 eth0", "fd00::1 eth0", "10.1.9.9 wg0", "192.0.2.1 eth1"} {
			ip, iface, _ := strings.Cut(s, " ")
			if a := (Address{IP: netip.MustParseAddr(ip), Iface: iface}); f.Lets(a) {
				got = append(got, a.String())
			}
		}
		if g := strings.Join(got, ", "); g != want {
			t.Errorf("%s: %s, want %s", list, g, want)
		}
	}
	for _, bad := range []string{"", "10.1/16", "a,,b", "10.0.0.0/99"} {
		if f, err := ParseFilter(bad); err == nil {
			t.Errorf("%q: %+v, want an error", bad, f)
		}
	}
}

func TestOwn(t *testing.T) {
	own, err := Own()
	if err != nil || len(own) == 0 {
		t.Fatalf("%v, %v", own, err)
	}
	for _, a := range own {
		if !a.IP.IsLoopback() && !a.IP.IsGlobalUnicast() || a.Iface == "" || !a.network().Contains(a.IP) {
			t.Errorf("%+v", a)
		}
	}
}
