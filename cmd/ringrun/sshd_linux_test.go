package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Names for which the ssh of TestBrokenSSH is to fail, see sshConfig.
var brokenSSH = []setup{
	{name: "wrongkey", see: "the host accepts none of the keys", do: "ssh-copy-id wrongkey"},
	{name: "changed", see: "the host has another key than when it was last seen", do: "ssh-keygen -R changed"},
	{name: "new", see: "this user has never said that the host's key is the right one", do: "ssh-keyscan new"},
	{name: "nowhere", see: "neither /etc/hosts nor DNS nor ~/.ssh/config knows that name", do: "check the spelling"},
	{name: "off", see: "no sshd listens at that port", do: "systemctl start sshd"},
	{name: "noroute", see: "this machine has no route to that network", do: "ip route"},
	{name: "rejected", see: "does not answer on its network, or a firewall", do: "ip route get rejected"},
	{name: "dropped", see: "a firewall drops the packets, or the host is down", do: "let TCP port 22 pass"},
}

// The real ssh meets a real sshd on another host, or something on the way.
func TestBrokenSSH(t *testing.T) {
	t.Parallel()
	bin := startSSHD(t)
	stories := []story{{"nothing is broken", func(t *testing.T) {
		newStage(t).withSSH(bin).ringrun("-H", "good", workerProg(t), "-env").ends(0, `^\[0\] RINGRUN_BIND=10\.77\.2\.2:0$`)
	}}}
	for _, b := range brokenSSH {
		b.begin = func(t *testing.T) *launcher { return newStage(t).withSSH(bin).ringrun("-H", b.name, workerProg(t)) }
		b.also = "ringrun doctor -H " + b.name + " looks closer"
		stories = append(stories, story{b.name, b.check})
	}
	atOnce(t, stories)
}

func (s *stage) withSSH(bin string) *stage {
	s.env = append(s.env, "PATH="+bin+":"+os.Getenv("PATH"))
	return s
}

// startSSHD starts sshd on host b of a network, and returns a folder with an ssh
// that connects from host a.
func startSSHD(t *testing.T) (bin string) {
	t.Helper()
	ssh, err := exec.LookPath("ssh")
	sshd := "/usr/sbin/sshd" // wants to be called so
	if _, err2 := os.Stat(sshd); err != nil || err2 != nil {
		t.Skip("no ssh, or no sshd")
	}
	n := newNetwork(t)
	n.on("b", "addr add 10.77.2.3/24 dev eth0", "addr add 10.77.2.4/24 dev eth0")
	n.on("r", "route add blackhole 10.77.2.3/32", "route add prohibit 10.77.2.4/32")
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil { // where it locks itself in
		t.Skip(err)
	}
	dir := t.TempDir()
	for _, key := range []string{"host", "mine", "other"} {
		if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(dir, key)).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	known := fmt.Sprintf("good %s\nchanged %s\n", publicKey(t, dir, "host"), publicKey(t, dir, "other"))
	bin = filepath.Join(dir, "bin")
	for name, text := range map[string]string{
		"known":       known,
		"allowed":     publicKey(t, dir, "mine") + "\n",
		"sshd_config": strings.ReplaceAll(sshdConfig, "DIR", dir),
		"config":      strings.ReplaceAll(sshConfig, "DIR", dir),
		"bin/ssh":     fmt.Sprintf("#!/bin/sh\nexec %s netns exec %s-a %s -F %s/config \"$@\"\n", n.ip, n.name, ssh, dir),
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	n.serve("b", "10.77.2.2:22", sshd, "-D", "-e", "-f", filepath.Join(dir, "sshd_config"))
	return bin
}

const sshdConfig = `
ListenAddress 10.77.2.2
HostKey DIR/host
AuthorizedKeysFile DIR/allowed
StrictModes no
UsePAM no
PermitRootLogin yes
PidFile none
SetEnv XDG_CACHE_HOME=DIR/cache TEST_AS_RINGRUN=1
`

const sshConfig = `
Host good
	HostKeyAlias good
Host wrongkey
	IdentityFile DIR/other
	HostKeyAlias good
Host * !wrongkey
	IdentityFile DIR/mine
Host changed
	HostKeyAlias changed
Host new
	HostKeyAlias new
Host nowhere
	HostName nowhere.invalid
Host off
	Port 23
	HostKeyAlias good
Host noroute
	HostName 2001:db8::1
Host dropped
	HostName 10.77.2.3
Host rejected
	HostName 10.77.2.4
Host *
	HostName 10.77.2.2
	User root
	IdentitiesOnly yes
	IdentityAgent none
	UserKnownHostsFile DIR/known
	GlobalKnownHostsFile /dev/null
`

func publicKey(t *testing.T, dir, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name+".pub"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

// serve runs a program on a host until the end of the test, and waits until it
// listens.
func (n *network) serve(host, addr string, args ...string) {
	n.t.Helper()
	cmd := n.command(host, args...)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	_, port, _ := net.SplitHostPort(addr)
	for late := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		out, err := n.command(host, "ss", "-Hltn", "sport", "=", port).Output()
		if err == nil && len(out) > 0 {
			return
		}
		if time.Now().After(late) {
			n.t.Fatalf("%s does not listen at %s (%v): %s", args[0], addr, err, said.String())
		}
	}
}
