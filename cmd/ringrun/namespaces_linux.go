package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// namespaces are networks that can be cut, one for each worker, joined by a bridge
// that has a namespace of its own; the network of the machine is not touched. Their
// names begin with the number of this process, so that what a killed one has left
// can be told and removed.
type namespaces struct {
	ip     string // the program of that name
	prefix string

	mu    sync.Mutex
	added map[int]bool
	apart map[[2]int]int // pairs that are cut, by how many faults
}

const (
	maxApart  = 200
	nsPrefix  = "partition-"
	nsSubnet  = "10.203.0."
	noMachine = "02:00:00:00:00:00" // an address that no machine has
	nsSwitch  = "sw"
)

// mayPart tells why workers cannot have networks of their own.
func mayPart() error {
	if os.Geteuid() != 0 {
		return errors.New("network namespaces need root")
	}
	ip, err := exec.LookPath("ip")
	if err != nil {
		return fmt.Errorf("network namespaces need the program ip: %w", err)
	}
	name := nsPrefix + strconv.Itoa(os.Getpid()) + "-try"
	if err := run(ip, "", "netns", "add", name); err != nil {
		return err
	}
	return run(ip, "", "netns", "del", name)
}

// run runs ip with these arguments; input are more commands for it.
func run(ip, input string, args ...string) error {
	cmd := exec.Command(ip, args...)
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return nil
}

func newNamespaces() (*namespaces, error) {
	ip, err := exec.LookPath("ip")
	if err != nil {
		return nil, err
	}
	n := &namespaces{ip: ip, prefix: nsPrefix + strconv.Itoa(os.Getpid()) + "-", added: map[int]bool{}, apart: map[[2]int]int{}}
	n.sweep()
	if err := run(ip, "", "netns", "add", n.prefix+nsSwitch); err != nil {
		return nil, err
	}
	err = run(ip, "link set lo up\nlink add br0 type bridge\nlink set br0 up\n", "-n", n.prefix+nsSwitch, "-batch", "-")
	if err != nil {
		err = errors.Join(err, n.close())
	}
	return n, err
}

func (n *namespaces) name(worker int) string { return n.prefix + "p" + strconv.Itoa(worker) }

func nsAddr(worker int) string { return nsSubnet + strconv.Itoa(worker+1) }

// add makes the namespace of a worker, and returns its name and address. It is cut
// off from those whom a cut that lasts names together with it.
func (n *namespaces) add(worker int) (name, addr string, err error) {
	if worker >= maxApart {
		return "", "", fmt.Errorf("no more than %d workers can have networks of their own", maxApart)
	}
	name, addr = n.name(worker), nsAddr(worker)
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := run(n.ip, "", "netns", "add", name); err != nil {
		return "", "", err
	}
	n.added[worker] = true
	v := "v" + strconv.Itoa(worker)
	err = run(n.ip, fmt.Sprintf("link add %s type veth peer name eth0 netns %s\nlink set %s master br0 up\n", v, name, v),
		"-n", n.prefix+nsSwitch, "-batch", "-")
	if err == nil {
		err = run(n.ip, fmt.Sprintf("link set lo up\naddr add %s/24 dev eth0\nlink set eth0 up\n", addr), "-n", name, "-batch", "-")
	}
	return name, addr, err
}

// cut lets nothing pass between two sides until heal is called: each believes that
// the others are a machine that is not there, so what it sends is lost without a
// word, as behind a cut cable.
func (n *namespaces) cut(left, right []int) (heal func() error, err error) {
	if n == nil {
		return nil, errors.New("the workers have no networks of their own")
	}
	err = n.change(left, right, 1)
	return func() error { return n.change(left, right, -1) }, err
}

func (n *namespaces) change(left, right []int, by int) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	commands := map[int]*strings.Builder{}
	for _, p := range left {
		for _, q := range right {
			pair := [2]int{min(p, q), max(p, q)}
			was := n.apart[pair] > 0
			n.apart[pair] += by
			if is := n.apart[pair] > 0; is != was {
				n.turn(commands, p, q, is)
				n.turn(commands, q, p, is)
			}
		}
	}
	errs := make(chan error, len(commands))
	for p, c := range commands {
		go func() { errs <- run(n.ip, c.String(), "-n", n.name(p), "-batch", "-") }()
	}
	var err error
	for range commands {
		err = errors.Join(err, <-errs)
	}
	return err
}

// turn adds the command that cuts one way off, or opens it.
func (n *namespaces) turn(commands map[int]*strings.Builder, from, to int, cut bool) {
	if !n.added[from] || !n.added[to] {
		return
	}
	if commands[from] == nil {
		commands[from] = &strings.Builder{}
	}
	if cut {
		fmt.Fprintf(commands[from], "neigh replace %s lladdr %s nud permanent dev eth0\n", nsAddr(to), noMachine)
	} else {
		fmt.Fprintf(commands[from], "neigh del %s dev eth0\n", nsAddr(to))
	}
}

// close removes all of them; no process is in any.
func (n *namespaces) close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	var err error
	for p := range n.added {
		err = errors.Join(err, run(n.ip, "", "netns", "del", n.name(p)))
	}
	return errors.Join(err, run(n.ip, "", "netns", "del", n.prefix+nsSwitch))
}

// sweep removes what others have left that were killed.
func (n *namespaces) sweep() {
	entries, _ := os.ReadDir("/run/netns") // none: nothing is left
	for _, e := range entries {
		rest, ours := strings.CutPrefix(e.Name(), nsPrefix)
		number, _, _ := strings.Cut(rest, "-")
		pid, err := strconv.Atoi(number)
		if ours && err == nil && syscall.Kill(pid, 0) == syscall.ESRCH {
			_ = run(n.ip, "", "netns", "del", e.Name()) // somebody else may have
		}
	}
}
