package tcp

import (
	"net"
	"testing"
)

func TestOnThisHost(t *testing.T) {
	own, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range own {
		if n, ok := a.(*net.IPNet); ok && !onThisHost(n.IP) {
			t.Errorf("%v is an address of this host", n.IP)
		}
	}
	for _, other := range []string{"192.0.2.1", "2001:db8::1"} { // for documentation only
		if onThisHost(net.ParseIP(other)) {
			t.Errorf("%s is no address of this host", other)
		}
	}
}
