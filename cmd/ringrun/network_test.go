package main

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"

	"github.com/ringrun/ringrun/cmd/ringrun/paths"
)

// Behind a router that translates addresses, workers listen at the host's own
// address and tell the others that of the router.
func TestBindBehindRouter(t *testing.T) {
	own := paths.Address{IP: netip.MustParseAddr("10.0.0.1"), Bits: 24, Iface: "eth0"}
	outside := paths.Address{IP: netip.MustParseAddr("203.0.113.5"), SSH: true}
	for _, tt := range []struct {
		at              paths.Address
		bind, advertise string
	}{
		{own, "10.0.0.1", ""}, {outside, "10.0.0.1", "203.0.113.5"}, {paths.Address{}, "", ""},
	} {
		c := conn{at: tt.at, own: ownIP([]paths.Address{outside, own})}
		if bind, advertise := c.bind(); bind != tt.bind || advertise != tt.advertise {
			t.Errorf("%v: bind %q, advertise %q; want %q, %q", tt.at, bind, advertise, tt.bind, tt.advertise)
		}
	}
	j := newJob(options{}, credential{}, records{}, nil)
	c := &conn{host: host{name: "me@203.0.113.5"}, server: "10.0.0.1"}
	got, err := j.usable(c, nil, []paths.Address{own})
	if err != nil || list(got) != "10.0.0.1 (eth0), 203.0.113.5" || !got[0].SSH {
		t.Errorf("usable: %v, %v", got, err)
	}
}

// A host that is added later listens in the network that the user wants, or not at
// all.
func TestNetworkOfLateHost(t *testing.T) {
	needLong(t)
	own, err := paths.Own()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ network, late string }{
		{own[0].IP.String(), `^\[1\] RINGRUN_BIND=` + regexp.QuoteMeta(net.JoinHostPort(own[0].IP.String(), "0")) + `$`},
		{own[0].Iface, `^\[1\] RINGRUN_BIND=`},
	} {
		s := newStage(t).withHosts()
		list := filepath.Join(s.dir, "hosts")
		write := func(text string) {
			if err := os.WriteFile(list, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		write("a\n")
		l := s.ringrun("-network", tt.network, "-hosts-from", "cat "+list, workerProg(t), "-env", "-polite")
		l.until(1, `^\[0\] waiting`)
		write("a\nb\n")
		l.until(1, tt.late)
		l.signal(syscall.SIGTERM)
		l.until(2, `got terminated`)
		l.ends(128 + int(syscall.SIGTERM))
	}
}
