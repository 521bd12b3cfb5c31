package doctor

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"time"
)

// Limits beyond which something is worth a word.
const (
	fewFiles    = 1024
	leastFiles  = 64 // and filesPer peer
	filesPer    = 4  // links, gossip, and pipes to the agent
	littleDisk  = 512 << 20
	leastDisk   = 64 << 20
	littleRAM   = 1 << 30
	leastRAM    = 64 << 20
	clockSkew   = 2 * time.Second
	clockBroken = 12 * time.Hour // certificates allow for a day
)

// A Plan says what is to run.
type Plan struct {
	Slots int // peers on this host
	Peers int // in all
	Hosts int
}

// JudgeHost says what the facts of a host mean.
func JudgeHost(host string, f Facts, plan Plan) []Finding {
	p := &page{host: host}
	p.ok("system", "%s, kernel %s, %s, ringrun %s", f.Platform, f.Kernel, f.Go, f.Version)
	p.ownName(f, plan)
	p.loopback(f)
	p.addresses(f, plan)
	p.shared(f, plan)
	p.processor(f, plan)
	p.memory(f)
	p.files(f, plan)
	p.folders(f)
	p.port(f)
	return p.findings
}

func (p *page) ownName(f Facts, plan Plan) {
	addrs := f.Names[f.Hostname]
	switch {
	case f.Hostname == "":
		p.add(Warn, "own name", "this host has no name", "give it one: hostname NAME", "none")
	case len(addrs) == 0:
		p.add(Warn, "own name", "neither /etc/hosts nor DNS knows this host's own name; ringrun does not need it, programs that use MASTER_ADDR=$(hostname) do",
			"add a line with an address of this host and "+f.Hostname+" to /etc/hosts", "%s is not known", f.Hostname)
	case plan.Hosts > 1 && allLoopback(addrs):
		p.add(Warn, "own name", "/etc/hosts gives the host's own name a loopback address, which other hosts cannot use; ringrun goes by routes and is not misled, programs that use MASTER_ADDR=$(hostname) are",
			"in /etc/hosts, give "+f.Hostname+" an address of the network: "+strings.Join(f.Addrs, ", "), "%s is %s", f.Hostname, strings.Join(addrs, ", "))
	default:
		p.ok("own name", "%s is %s", f.Hostname, strings.Join(addrs, ", "))
	}
}

func allLoopback(addrs []string) bool {
	return !slices.ContainsFunc(addrs, func(a string) bool { return !net.ParseIP(a).IsLoopback() })
}

func (p *page) loopback(f Facts) {
	if f.Loopback != "" {
		p.add(Fail, "loopback", "this host cannot reach itself at 127.0.0.1: the interface lo is down, or a firewall stops it",
			"ip link set lo up", "%s", f.Loopback)
		return
	}
	p.ok("loopback", "127.0.0.1 answers")
}

func (p *page) addresses(f Facts, plan Plan) {
	switch {
	case len(f.Addrs) > 0:
		p.ok("addresses", "%s", strings.Join(f.Addrs, ", "))
	case plan.Hosts > 1:
		p.add(Fail, "addresses", "no interface but loopback has an address", "ip addr; bring up the network of this host", "none")
	default:
		p.ok("addresses", "loopback only")
	}
}

func (p *page) shared(f Facts, plan Plan) {
	switch {
	case f.NoShared == "":
		p.ok("shared memory", "memory files with seals")
	case plan.Slots > 1:
		p.add(Warn, "shared memory", "peers on this host will use TCP instead, which is slower",
			"Linux 5.1 or later is needed, and a sandbox or seccomp filter that lets memfd_create pass; -transport tcp says that it is wanted", "%s", f.NoShared)
	default:
		p.ok("shared memory", "none (%s), and one peer alone needs none", f.NoShared)
	}
}

func (p *page) processor(f Facts, plan Plan) {
	what := fmt.Sprintf("%d cores (%s)", f.Cores, strings.Join(f.Features, " "))
	cores := float64(f.Cores)
	if f.Quota > 0 && f.Quota < cores {
		cores = f.Quota
		what += fmt.Sprintf(", of which the control group allows %.1f", f.Quota)
	}
	switch {
	case float64(plan.Slots) > cores:
		p.add(Warn, "processor", fmt.Sprintf("%d peers are to share %.3g cores: each waits for the others' turns", plan.Slots, cores),
			"give this host fewer slots, or its container more cores (cpu.max)", "%s", what)
	case f.Load > 1.5*float64(f.Cores):
		p.add(Warn, "processor", "other programs keep the cores busy, and a ring is as slow as its slowest peer",
			"see what runs there: top", "%s, load %.1f", what, f.Load)
	case len(f.Lacks) > 0:
		p.add(Warn, "processor", "it lacks "+strings.Join(f.Lacks, ", ")+", so sums and matrix products take slower code",
			"nothing, or another machine; in a virtual machine let it see the host's processor (host-passthrough)", "%s", what)
	default:
		p.ok("processor", "%s, load %.1f", what, f.Load)
	}
}

func (p *page) memory(f Facts) {
	free := size(f.Memory)
	switch {
	case f.Memory == 0:
		p.ok("memory", "not known here")
	case f.Memory < leastRAM:
		p.add(Fail, "memory", "a peer would be killed for want of memory", "end other programs, or raise memory.max of the container", "%s free", free)
	case f.Memory < littleRAM:
		p.add(Warn, "memory", "that is little for a model, its gradients and a copy of them", "end other programs, or raise memory.max of the container", "%s free", free)
	default:
		p.ok("memory", "%s free", free)
	}
}

func (p *page) files(f Facts, plan Plan) {
	need := FilesFor(plan.Peers)
	cause := fmt.Sprintf("a process may open %d files and sockets; among %d peers it needs up to %d", f.Files, plan.Peers, need)
	remedy := "raise the hard limit: ulimit -Hn, nofile in /etc/security/limits.conf, LimitNOFILE= of the service, --ulimit nofile= of the container"
	switch {
	case f.Files < need:
		p.add(Fail, "open files", cause, remedy, "%d at most", f.Files)
	case f.Files < fewFiles:
		p.add(Warn, "open files", cause, remedy, "%d at most", f.Files)
	default:
		p.ok("open files", "%d at most", f.Files)
	}
}

// FilesFor is how many files and sockets a process needs among some peers.
func FilesFor(peers int) uint64 { return uint64(leastFiles + filesPer*peers) }

const elsewhereCache = "XDG_CACHE_HOME here, -cache DIR for other hosts"

func (p *page) folders(f Facts) {
	if f.Homeless != "" {
		p.add(Fail, "folders", "there is no place for programs, builds and records: "+f.Homeless, "set HOME, or XDG_CACHE_HOME; on other hosts, -cache DIR", "no cache folder")
	}
	for _, d := range f.Folders {
		found := d.Path
		if d.Sized {
			found += ", " + size(d.Free) + " free"
		}
		elsewhere := "free some, or choose another place: " + elsewhereCache
		if d.Use == UseData {
			elsewhere = "free some, or choose another folder"
		}
		switch {
		case d.Sized && (d.Free < 64<<10 || d.Inodes):
			p.add(Fail, "folders", "the disk is full, and no room is left for "+d.Use, elsewhere, "%s", found)
		case d.Error != "":
			p.add(Fail, "folders", "nothing can be written there, and it is for "+d.Use+": "+d.Error,
				"make it writable for this user (mount -o remount,rw; chown), or choose another place: "+elsewhereCache+"; -output, -checkpoint", "%s", found)
		case d.NoExec && d.Use == UseCache:
			p.add(Fail, "folders", "its file system is mounted noexec, so programs copied or built there do not start",
				"mount -o remount,exec, or another place: "+elsewhereCache, "%s", found)
		case d.Sized && d.Free < leastDisk && d.Use == UseCache:
			p.add(Fail, "folders", "there is not enough room for "+d.Use, elsewhere, "%s", found)
		case d.Sized && d.Free < littleDisk:
			p.add(Warn, "folders", "that is little for "+d.Use, elsewhere, "%s", found)
		default:
			p.ok("folders", "%s", found)
		}
	}
}

func (p *page) port(f Facts) {
	if f.PortBusy != "" {
		p.add(Fail, "port", "the founder could not listen on it: another process does, or it is below 1024 and this user may not",
			"find that process (ss -ltnup), or choose another -port", "%s", f.PortBusy)
	}
}

// JudgeName says what it means how a host knows another one by name.
func JudgeName(host, other string, f Facts, others Facts) []Finding {
	p := &page{host: host, to: other}
	name := other[strings.LastIndex(other, "@")+1:]
	addrs := f.Names[name]
	switch {
	case net.ParseIP(name) != nil:
	case len(addrs) == 0:
		p.add(Warn, "name", "neither /etc/hosts nor DNS of "+host+" knows it; ringrun uses addresses, but programs and -join with that name do not work there",
			"add it to /etc/hosts or DNS", "%s is not known", name)
	case !slices.ContainsFunc(addrs, func(a string) bool { return slices.Contains(others.Addrs, a) }):
		p.add(Warn, "name", "none of these is an address of that host: a stale or loopback line in /etc/hosts, a wrong DNS entry, or a translator between them",
			"correct /etc/hosts or DNS; that host has "+strings.Join(others.Addrs, ", "), "%s is %s", name, strings.Join(addrs, ", "))
	default:
		p.ok("name", "%s is %s", name, strings.Join(addrs, ", "))
	}
	return p.findings
}

// JudgeClock says what it means that a clock is ahead of this host's, give or
// take an uncertainty.
func JudgeClock(host string, ahead, uncertain time.Duration) Finding {
	p := &page{host: host}
	how := "ahead of"
	off := ahead
	if off < 0 {
		how, off = "behind", -off
	}
	cause := "the clocks differ: tickets expire too early or too late, and certificates of peers that differ by more than a day are refused"
	remedy := "set the clocks: timedatectl set-ntp true, or chronyc makestep"
	found := fmt.Sprintf("%s %s this host's, ± %s", short(off), how, short(uncertain))
	switch {
	case off-uncertain > clockBroken:
		p.add(Fail, "clock", cause, remedy, "%s", found)
	case off-uncertain > clockSkew:
		p.add(Warn, "clock", cause, remedy, "%s", found)
	default:
		p.ok("clock", "%s", found)
	}
	return p.findings[0]
}

func short(d time.Duration) string {
	for _, unit := range []time.Duration{time.Second, time.Millisecond, time.Microsecond} {
		if d >= 10*unit {
			return d.Round(unit).String()
		}
		if d >= unit {
			return d.Round(unit / 10).String()
		}
	}
	return d.String()
}

func size(bytes int64) string {
	switch {
	case bytes >= 10<<30:
		return fmt.Sprintf("%d GiB", bytes>>30)
	case bytes >= 10<<20:
		return fmt.Sprintf("%d MiB", bytes>>20)
	}
	return fmt.Sprintf("%d KiB", bytes>>10)
}
