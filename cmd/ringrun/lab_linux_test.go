package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A lab is some hosts with nothing on them: network namespaces with sshd, an empty
// home folder and no Go, joined by as many networks as a test wants. In
// network k host i has the addresses 10.7k.0.(i+1) and fd00:7k::(i+1), by eth<k>.
type lab struct {
	*stage
	prefix string
	names  []string
	ssh    string // folder of keys and settings
}

const labSwitch = "switch"

// newLab skips the test where there can be none.
func newLab(t *testing.T, names ...string) *lab {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	for _, p := range []string{"ip", "tc", "ssh", "ssh-keygen", "setsid", "unshare", "/usr/sbin/sshd"} {
		if _, err := exec.LookPath(p); err != nil {
			t.Skip(err)
		}
	}
	if _, err := os.Stat("/run/sshd"); err != nil {
		t.Skip("sshd has not been set up here:", err)
	}
	l := &lab{stage: newStage(t), prefix: fmt.Sprintf("ship-%d-", os.Getpid()), names: names, ssh: t.TempDir()}
	if err := exec.Command("ip", "netns", "add", l.prefix+"try").Run(); err != nil {
		t.Skip("no network namespaces here:", err)
	}
	l.must("ip", "netns", "del", l.prefix+"try")
	for _, name := range append([]string{labSwitch}, names...) {
		l.must("ip", "netns", "add", l.prefix+name)
		t.Cleanup(func() { l.must("ip", "netns", "del", l.prefix+name) })
		l.in(name, "ip", "link", "set", "lo", "up")
	}
	l.must("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(l.ssh, "key"))
	return l
}

func (l *lab) must(args ...string) {
	l.t.Helper()
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		l.t.Fatalf("%s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// in runs a command on a host.
func (l *lab) in(host string, args ...string) {
	l.t.Helper()
	l.must(append([]string{"ip", "netns", "exec", l.prefix + host}, args...)...)
}

func labAddr(network, host int) string  { return fmt.Sprintf("10.7%d.0.%d", network, host+1) }
func labAddr6(network, host int) string { return fmt.Sprintf("fd00:7%d::%d", network, host+1) }

// join gives all hosts a link to a network, with these kinds of address.
func (l *lab) join(network int, four, six bool) {
	l.t.Helper()
	bridge, eth := fmt.Sprint("br", network), fmt.Sprint("eth", network)
	l.in(labSwitch, "ip", "link", "add", bridge, "type", "bridge")
	l.in(labSwitch, "ip", "link", "set", bridge, "up")
	for i, name := range l.names {
		port := l.port(network, i)
		l.in(labSwitch, "ip", "link", "add", port, "type", "veth", "peer", "name", eth, "netns", l.prefix+name)
		l.in(labSwitch, "ip", "link", "set", port, "master", bridge, "up")
		if four {
			l.in(name, "ip", "addr", "add", labAddr(network, i)+"/24", "dev", eth)
		}
		if six {
			l.in(name, "ip", "addr", "add", labAddr6(network, i)+"/64", "dev", eth, "nodad")
		}
		l.in(name, "ip", "link", "set", eth, "up")
	}
}

// port is the other end of a host's link.
func (l *lab) port(network, host int) string { return fmt.Sprintf("n%dh%d", network, host) }

// shape limits all links of a network.
func (l *lab) shape(network int, rate string) {
	l.t.Helper()
	for i, name := range l.names {
		tbf := []string{"root", "tbf", "rate", rate, "burst", "256kb", "latency", "50ms"}
		l.in(name, append([]string{"tc", "qdisc", "add", "dev", fmt.Sprint("eth", network)}, tbf...)...)
		l.in(labSwitch, append([]string{"tc", "qdisc", "add", "dev", l.port(network, i)}, tbf...)...)
	}
}

// hostsFile is /etc/hosts on a host, from when it is up.
func (l *lab) hostsFile(host, text string) {
	l.t.Helper()
	dir := filepath.Join("/etc/netns", l.prefix+host)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() {
		os.RemoveAll(dir)
		os.Remove("/etc/netns") // if nobody else has anything there
	})
	if err := os.WriteFile(filepath.Join(dir, "hosts"), []byte(text), 0o644); err != nil {
		l.t.Fatal(err)
	}
}

// home is what a host has of its own.
func (l *lab) home(host string) string { return filepath.Join(l.dir, "home-"+host) }

// up starts sshd on all hosts, and tells ssh how to get there: by these addresses.
func (l *lab) up(addrs ...string) {
	l.t.Helper()
	config := "BatchMode yes\nStrictHostKeyChecking no\nUserKnownHostsFile /dev/null\nLogLevel ERROR\nIdentitiesOnly yes\nIdentityFile " + l.ssh + "/key\n"
	for i, name := range l.names {
		if addrs[i] != "" {
			config += fmt.Sprintf("Host %s %s\nHostName %s\n", name, addrs[i], addrs[i])
			l.sshd(name, addrs[i])
		}
	}
	if err := os.WriteFile(l.ssh+"/config", []byte(config), 0o600); err != nil {
		l.t.Fatal(err)
	}
	bin := filepath.Join(l.ssh, "bin")
	if err := os.Mkdir(bin, 0o700); err != nil {
		l.t.Fatal(err)
	}
	ssh := "#!/bin/sh\nexec /usr/bin/ssh -F " + l.ssh + "/config \"$@\"\n"
	if err := os.WriteFile(bin+"/ssh", []byte(ssh), 0o700); err != nil {
		l.t.Fatal(err)
	}
	l.env = append(l.env, "PATH="+bin+":"+os.Getenv("PATH"))
}

func (l *lab) sshd(name, addr string) {
	l.t.Helper()
	if err := os.Mkdir(l.home(name), 0o700); err != nil {
		l.t.Fatal(err)
	}
	key := l.ssh + "/host-" + name
	l.must("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)
	config := "Port 22\nPidFile none\nStrictModes no\nUsePAM no\nPermitRootLogin yes\nPasswordAuthentication no\nPrintMotd no\n" +
		"HostKey " + key + "\nAuthorizedKeysFile " + l.ssh + "/key.pub\n" +
		"SetEnv HOME=" + l.home(name) + " XDG_CACHE_HOME=" + l.home(name) + "/cache XDG_RUNTIME_DIR=" + l.home(name) +
		" PATH=/usr/bin:/bin TEST_AS_RINGRUN=1 GORACE=atexit_sleep_ms=0 " + l.mark + "\n"
	if err := os.WriteFile(l.ssh+"/sshd-"+name, []byte(config), 0o600); err != nil {
		l.t.Fatal(err)
	}
	var said bytes.Buffer
	cmd := exec.Command("ip", "netns", "exec", l.prefix+name, "/usr/sbin/sshd", "-D", "-e", "-f", l.ssh+"/sshd-"+name)
	cmd.Stderr = &said
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if l.t.Failed() {
			l.t.Logf("sshd of %s: %s", name, said.String())
		}
	})
	l.untilListens(name, addr)
}

// untilListens asks on the host itself.
func (l *lab) untilListens(name, addr string) {
	l.t.Helper()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	late := time.After(patience)
	for {
		out, err := exec.Command("ip", "netns", "exec", l.prefix+name, "cat", "/proc/net/tcp", "/proc/net/tcp6").Output()
		if err == nil && bytes.Contains(out, []byte(":0016 ")) { // port 22
			return
		}
		select {
		case <-look.C:
		case <-late:
			l.t.Fatalf("sshd of host %s (%s) does not listen: %v", name, addr, err)
		}
	}
}

// launch runs ringrun on a host that has that name.
func (l *lab) launch(host, exe string, args ...string) *launcher {
	l.t.Helper()
	script := "hostname " + host + " && exec " + quote(exe) + ` "$@"`
	return l.start(exec.Command("ip", append([]string{"netns", "exec", l.prefix + host, "unshare", "--uts", "sh", "-c", script, "sh"}, args...)...))
}

func (l *lab) self() string {
	exe, err := os.Executable()
	if err != nil {
		l.t.Fatal(err)
	}
	return exe
}

// Two hosts with nothing: one command, and they train. The second time all is
// there already.
func TestBareHosts(t *testing.T) {
	if testing.Short() {
		t.Skip("builds ringrun")
	}
	l := newLab(t, "here", "a", "b")
	l.join(1, true, false)
	l.shape(1, "1gbit")
	l.up("", labAddr(1, 1), labAddr(1, 2))
	ringrun, prog := filepath.Join(l.dir, "ringrun"), filepath.Join(l.dir, "trainer")
	for out, pkg := range map[string]string{ringrun: ".", prog: "./testdata/trainer"} {
		if text, err := exec.Command("go", "build", "-o", out, pkg).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
	}
	pad(t, prog, 30e6)
	for _, tt := range []struct {
		start string
		limit time.Duration
	}{{"first", 30 * time.Second}, {"second", 5 * time.Second}} {
		begin := time.Now()
		r := l.launch("here", ringrun, "-H", "a,b", prog, "-steps", "20")
		r.until(2, `^\[\d\] step 1$`)
		took := time.Since(begin)
		t.Logf("the %s start: %.2f s to the first step", tt.start, took.Seconds())
		within(t, took, tt.limit)
		r.ends(0, `^ringrun: p1 reaches p0 by 10\.71\.0\.2 \(eth1\), p0 reaches p1 by 10\.71\.0\.3 \(eth1\)$`)
	}
}

// pad makes a file longer by what cannot be compressed.
func pad(t *testing.T, file string, size int64) {
	t.Helper()
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(noise(size - st.Size())); err != nil {
		t.Fatal(err)
	}
}
