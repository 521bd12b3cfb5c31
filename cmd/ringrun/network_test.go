package main

import (
	"net/netip"
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
	got, err := j.usable(c, []paths.Address{own})
	if err != nil || list(got) != "10.0.0.1 (eth0), 203.0.113.5" || !got[0].SSH {
		t.Errorf("usable: %v, %v", got, err)
	}
}
