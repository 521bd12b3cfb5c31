package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// A network is two hosts, a and b, in namespaces of their own, with a router
// between them:
//
//	a 10.77.1.2 --- 10.77.1.1 r 10.77.2.1 --- 10.77.2.2 b
type network struct {
	t    testing.TB
	ip   string // the program of that name
	name string // what names of namespaces begin with
}

var (
	networks    atomic.Int32
	mayPartOnce = sync.OnceValue(mayPart)
)

// newNetwork skips the test where namespaces cannot be made.
func newNetwork(t testing.TB) *network {
	t.Helper()
	if err := mayPartOnce(); err != nil {
		t.Skip(err)
	}
	ip, err := exec.LookPath("ip")
	if err != nil {
		t.Fatal(err)
	}
	n := &network{t: t, ip: ip, name: fmt.Sprintf("rrtest%d-%d", os.Getpid(), networks.Add(1))}
	for _, h := range []string{"a", "b", "r"} {
		n.do("netns add " + n.name + "-" + h)
		t.Cleanup(func() { _ = run(ip, "", "netns", "del", n.name+"-"+h) })
		n.on(h, "link set lo up")
	}
	for i, h := range []string{"a", "b"} {
		n.do(fmt.Sprintf("-n %s-r link add to%s type veth peer name eth0 netns %s-%s", n.name, h, n.name, h))
		n.on("r", fmt.Sprintf("addr add 10.77.%d.1/24 dev to%s", i+1, h), "link set to"+h+" up")
		n.on(h, fmt.Sprintf("addr add 10.77.%d.2/24 dev eth0", i+1), "link set eth0 up", fmt.Sprintf("route add default via 10.77.%d.1", i+1))
	}
	n.run("r", "sysctl", "-q", "net.ipv4.ip_forward=1")
	return n
}

// do runs ip.
func (n *network) do(args string) {
	n.t.Helper()
	if err := run(n.ip, "", strings.Fields(args)...); err != nil {
		n.t.Fatal(err)
	}
}

// on runs ip in the namespace of a host.
func (n *network) on(host string, commands ...string) {
	n.t.Helper()
	for _, c := range commands {
		n.do("-n " + n.name + "-" + host + " " + c)
	}
}

// run runs a program on a host.
func (n *network) run(host string, args ...string) {
	n.t.Helper()
	cmd := n.command(host, args...)
	if out, err := cmd.CombinedOutput(); err != nil {
		n.t.Fatalf("%s: %v: %s", strings.Join(args, " "), err, out)
	}
}

func (n *network) command(host string, args ...string) *exec.Cmd {
	return exec.Command(n.ip, append([]string{"netns", "exec", n.name + "-" + host}, args...)...)
}

// withNetwork gives the stage an ssh that leads into the namespaces.
func (s *stage) withNetwork(n *network) *stage {
	s.t.Helper()
	bin, err := filepath.Abs("testdata/netns")
	if err != nil {
		s.t.Fatal(err)
	}
	s.env = append(s.env, "PATH="+bin+":"+os.Getenv("PATH"), "TEST_HOSTS="+s.t.TempDir(), "TEST_NET="+n.name)
	return s
}
