package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/ringrun/ringrun/membership/strangers/mob"
)

// What strangers may take of a peer: for those whom it has let in, and lines of its log.
const (
	hostileMemory = 96 << 20
	hostileFiles  = 700
)

// A run goes on as if nothing were, bit for bit, while at every port of its peers there
// are scanners, random bytes, what others have said when they joined, peers with
// another secret, and connections that say nothing.
func TestRealHostile(t *testing.T) {
	binaries(t)
	secret := strings.Repeat("5e", 32)
	t.Setenv("RINGRUN_SECRET", secret)
	steps, halfOpen := "300", 600
	if *long {
		steps, halfOpen = "4000", 10000
	}
	args := []string{"-n", "3", "-transport", "tcp", "-tls", "always", "PROG", "-epochs", "0", "-steps", steps}
	undisturbed := startJob(t, args...).succeed(3)
	said := recordJoin(t)

	j := startJob(t, args...)
	addr := regexp.MustCompile(`-join (\S+:\d+)`).FindStringSubmatch(j.until(`-join \S+:\d+`))[1]
	j.until(`step \d+`)
	workers := j.processes("RINGRUN_ID=p")
	if len(workers) != 3 {
		t.Fatalf("workers %v, want 3", workers)
	}
	memory, files := mostMemory(t, workers), mostFiles(t, workers)
	yield(t)
	ports := openPorts(t, workers)
	if n := len(ports); n < 6 {
		t.Fatalf("open ports %v: want two of each peer", ports)
	}
	for _, p := range ports {
		mob.HalfOpen(t, p.addr, halfOpen/len(ports))
		t.Cleanup(mob.Pester(t, p.addr, p.magic))
		said.replay(t, p.addr)
	}
	if *long {
		t.Setenv("RINGRUN_SECRET", strings.Repeat("a5", 32))
		other := startJob(t, "-n", "1", "-join", addr, "PROG")
		other.until(`that both have the same secret`)
		if other.wait() == 0 {
			t.Error("a peer with another secret ended well")
		}
	}
	j.until(`step \d+`)
	if m := mostMemory(t, workers); m > memory+hostileMemory {
		t.Errorf("a worker has %d MB, before %d", m>>20, memory>>20)
	}
	if n := mostFiles(t, workers); n > files+hostileFiles {
		t.Errorf("a worker has %d files open, before %d", n, files)
	}
	for i, s := range j.succeed(3) {
		if s.Params != undisturbed[0].Params || s.Size != 3 || s.Epoch != 2 || s.Retries != 0 {
			t.Errorf("rank %d ends with %s, %d peers, view %d, %d steps reduced again; want %s, 3, 2, 0", s.Rank, s.Params, s.Size, s.Epoch, s.Retries, undisturbed[0].Params)
		}
		was, is := undisturbed[i].SamplesPerSecond, s.SamplesPerSecond
		t.Logf("rank %d: %.0f samples/s, undisturbed %.0f (%+.1f%%)", s.Rank, is, was, 100*(is/was-1))
	}
	text := strings.Join(j.seen, "\n")
	const lines = 3 * 2 * 4 // at each port the first, what was counted at the end, and one a minute
	if n := strings.Count(text, "refused "); n > lines {
		t.Errorf("%d lines about strangers:\n%s", n, text)
	}
}

// yield lets this process, and so the strangers, have only what the peers leave of the
// processors, until the test ends: they would be on machines of their own.
func yield(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		return // there would be no way back
	}
	set := func(nice int) {
		tasks, _ := filepath.Glob("/proc/self/task/[0-9]*")
		for _, dir := range tasks {
			if id, err := strconv.Atoi(filepath.Base(dir)); err == nil {
				_ = syscall.Setpriority(syscall.PRIO_PROCESS, id, nice) // it has ended: nothing to do
			}
		}
	}
	was, err := syscall.Getpriority(syscall.PRIO_PROCESS, 0)
	if err != nil {
		t.Fatal(err)
	}
	set(19)
	t.Cleanup(func() { set(20 - was) }) // the system call counts the other way
}

// A port is one at which a worker listens.
type port struct{ addr, magic string }

// openPorts finds them by the sockets that processes have. Those that take packets,
// too, are for gossip.
func openPorts(t *testing.T, pids []int) (all []port) {
	t.Helper()
	for _, pid := range pids {
		own := map[string]bool{}
		fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
		for _, fd := range fds {
			if to, err := os.Readlink(fd); err == nil && strings.HasPrefix(to, "socket:[") {
				own[strings.Trim(to, "socket:[]")] = true
			}
		}
		const listening, bound = "0A", "07"
		packets := append(sockets(t, pid, "udp", bound, own), sockets(t, pid, "udp6", bound, own)...)
		for _, p := range append(sockets(t, pid, "tcp", listening, own), sockets(t, pid, "tcp6", listening, own)...) {
			magic := "ringrun"
			if slices.Contains(packets, p) {
				magic = "RINGRUN"
			}
			all = append(all, port{"127.0.0.1:" + p, magic})
		}
	}
	return all
}

// sockets returns the ports of those in a table that a process owns.
func sockets(t *testing.T, pid int, table, state string, own map[string]bool) (ports []string) {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", pid, table))
	if err != nil {
		if os.IsNotExist(err) {
			return nil // no IPv6 here
		}
		t.Fatal(err)
	}
	for line := range bytes.Lines(b) {
		f := strings.Fields(string(line))
		if len(f) < 10 || f[3] != state || !own[f[9]] {
			continue
		}
		_, hex, _ := strings.Cut(f[1], ":")
		n, err := strconv.ParseUint(hex, 16, 16)
		if err != nil {
			t.Fatal(err)
		}
		ports = append(ports, fmt.Sprint(n))
	}
	return ports
}

// mostMemory returns the bytes in use by the one that has most.
func mostMemory(t *testing.T, pids []int) (most int) {
	t.Helper()
	for _, pid := range pids {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
		if err != nil {
			t.Fatalf("a worker is gone: %v", err)
		}
		pages, err := strconv.Atoi(strings.Fields(string(b))[1])
		if err != nil {
			t.Fatal(err)
		}
		most = max(most, pages*os.Getpagesize())
	}
	return most
}

func mostFiles(t *testing.T, pids []int) (most int) {
	t.Helper()
	for _, pid := range pids {
		all, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
		if err != nil {
			t.Fatalf("a worker is gone: %v", err)
		}
		most = max(most, len(all))
	}
	return most
}
