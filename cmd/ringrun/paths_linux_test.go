package main

import (
	"regexp"
	"strings"
	"testing"
)

// Whatever misleads, the hosts find a way by which they reach each other, and say
// which. The launcher runs on the first host.
func TestManyNetworks(t *testing.T) {
	docker := func(l *lab) {
		for _, name := range l.names {
			l.in(name, "ip", "link", "add", "docker0", "type", "bridge")
			l.in(name, "ip", "addr", "add", "172.17.0.1/16", "dev", "docker0")
			l.in(name, "ip", "link", "set", "docker0", "up")
		}
	}
	for _, tt := range []struct {
		name  string
		hosts []string
		setUp func(l *lab)
		args  []string
		want  string
	}{
		{"own name is loopback", []string{"a", "b"}, func(l *lab) {
			l.join(1, true, false)
			l.hostsFile("a", "127.0.0.1 localhost\n127.0.1.1 a\n10.71.0.2 b\n")
			l.hostsFile("b", "127.0.0.1 localhost\n127.0.1.1 b\n10.71.0.1 a\n")
			l.up("", "b")
		}, []string{"-H", "a,b"}, "p1 reaches p0 by 10.71.0.1 (eth1), p0 reaches p1 by 10.71.0.2 (eth1)"},
		{"same bridge on both", []string{"a", "b"}, func(l *lab) {
			docker(l)
			l.join(1, true, false)
			l.up("", "10.71.0.2")
		}, []string{"-H", "localhost,b"}, "p1 reaches p0 by 10.71.0.1 (eth1), p0 reaches p1 by 10.71.0.2 (eth1)"},
		{"IPv6 only", []string{"a", "b"}, func(l *lab) {
			l.join(1, false, true)
			l.up("", "fd00:71::2")
		}, []string{"-H", "[fd00:71::1],[fd00:71::2]"}, "p1 reaches p0 by fd00:71::1 (eth1), p0 reaches p1 by fd00:71::2 (eth1)"},
		{"first network dead", []string{"a", "b"}, func(l *lab) {
			l.join(1, true, false)
			l.join(2, true, false)
			l.in(labSwitch, "ip", "link", "set", "br1", "down") // all links are up, and nothing arrives
			l.up("", "10.72.0.2")
		}, []string{"-H", "a,b"}, "p1 reaches p0 by 10.72.0.1 (eth2), p0 reaches p1 by 10.72.0.2 (eth2)"},
		{"ssh's network is not for the others", []string{"a", "b", "c"}, func(l *lab) {
			l.join(1, true, false)
			l.join(2, true, false)
			for _, host := range []int{1, 2} { // they reach the launcher, not each other
				l.in(labSwitch, "bridge", "link", "set", "dev", l.port(1, host), "isolated", "on")
			}
			l.up("", "10.71.0.2", "10.71.0.3")
		}, []string{"-H", "a,b,c"}, "p0 is reached by 10.72.0.1 (eth2), p1 by 10.72.0.2 (eth2), p2 by 10.72.0.3 (eth2)"},
		{"the user knows better", []string{"a", "b"}, func(l *lab) {
			l.join(1, true, true)
			l.join(2, true, false)
			l.up("", "10.71.0.2")
		}, []string{"-network", "eth2", "-H", "a,b"}, "p1 reaches p0 by 10.72.0.1 (eth2), p0 reaches p1 by 10.72.0.2 (eth2)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.name != "own name is loopback" && tt.name != "same bridge on both" {
				needLong(t)
			}
			l := newLab(t, tt.hosts...)
			tt.setUp(l)
			r := l.launch("a", l.self(), append(tt.args, workerProg(t), "-env")...)
			text := r.ends(0, "^ringrun: "+regexp.QuoteMeta(tt.want)+"$")
			if strings.Contains(text, "RINGRUN_BIND=127.") {
				t.Errorf("a worker listens where only its host reaches it:\n%s", text)
			}
		})
	}
}

// Where no way leads, that is said at once, with what was tried.
func TestNoWay(t *testing.T) {
	needLong(t)
	l := newLab(t, "here", "a", "b")
	l.join(1, true, false)
	for _, host := range []int{1, 2} {
		l.in(labSwitch, "bridge", "link", "set", "dev", l.port(1, host), "isolated", "on")
	}
	l.up("", labAddr(1, 1), labAddr(1, 2))
	l.launch("here", l.self(), "-H", "a,b", workerProg(t)).ends(1,
		`^ringrun: no other host reaches host a: 10\.71\.0\.2 \(eth1\): no (answer|route); does a firewall let TCP through between the hosts\? \(ringrun doctor `)
	l.launch("here", l.self(), "-network", "10.99.0.0/16", "-H", "a,b", workerProg(t)).ends(1,
		`^ringrun: host [ab] has no address in the -network wanted; it has 10\.71\.0\.[23] \(eth1\) \(ringrun doctor `)
}
