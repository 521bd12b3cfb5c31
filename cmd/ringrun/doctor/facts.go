package doctor

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ringrun/ringrun/ring/shm"
	"golang.org/x/sys/unix"
)

// A Query says what else is to be found out about a host.
type Query struct {
	Names []string `json:"names,omitempty"` // to look up
	Dirs  []string `json:"dirs,omitempty"`  // where checkpoints and output go
	Cache string   `json:"cache,omitempty"` // where copies go, if not to the user's cache folder
}

// Facts are what a host knows about itself. They hold no judgement.
type Facts struct {
	Hostname string              `json:"hostname"`
	Addrs    []string            `json:"addrs"`            // of its interfaces, but for loopback
	Ifaces   map[string]string   `json:"ifaces,omitempty"` // of each of them
	Names    map[string][]string `json:"names"`            // what they stand for here; nothing if they are unknown
	Loopback string              `json:"loopback,omitempty"`
	PortBusy string              `json:"port_busy,omitempty"` // why the founder could not listen on its port
	Ports    string              `json:"ports,omitempty"`     // the range of those that the system hands out

	Same     string   `json:"same"`                // hosts with the same share memory
	NoShared string   `json:"no_shared,omitempty"` // why there is no shared memory
	Platform string   `json:"platform"`
	Go       string   `json:"go"`
	Version  string   `json:"version"`
	Kernel   string   `json:"kernel"`
	Cores    int      `json:"cores"` // that this process may use
	Quota    float64  `json:"quota,omitempty"`
	Load     float64  `json:"load"`
	Features []string `json:"features"` // of the processor
	Lacks    []string `json:"lacks,omitempty"`
	Memory   int64    `json:"memory"` // bytes that can be had; 0: not known
	Files    uint64   `json:"files"`  // that a process may open
	SSH      bool     `json:"ssh"`    // there is a client
	Compiler string   `json:"compiler,omitempty"`
	Folders  []Folder `json:"folders"`
	Homeless string   `json:"homeless,omitempty"` // why there is no cache folder
}

// A Folder is a place where ringrun writes.
type Folder struct {
	Path   string `json:"path"`
	Use    string `json:"use"`
	Free   int64  `json:"free"`             // bytes
	NoExec bool   `json:"no_exec"`          // programs cannot be started there
	Error  string `json:"error,omitempty"`  // why it cannot be written
	Sized  bool   `json:"sized"`            // Free is known
	Inodes bool   `json:"inodes,omitempty"` // none is free
}

// lookupTime bounds the look-up of names.
const lookupTime = 3 * time.Second

// Gather finds out about this host.
func Gather(ctx context.Context, q Query) Facts {
	f := Facts{
		Platform: runtime.GOOS + "/" + runtime.GOARCH, Go: runtime.Version(), Version: version(),
		Cores: runtime.NumCPU(), Same: shm.Identity(),
	}
	f.Hostname, _ = os.Hostname() // empty: judged
	f.Ifaces = ifaces()
	for _, ip := range ownAddrs() {
		f.Addrs = append(f.Addrs, ip.String())
	}
	f.Names = lookUpAll(ctx, append([]string{f.Hostname}, q.Names...))
	if err := tryLoopback(ctx); err != nil {
		f.Loopback = err.Error()
	}
	f.NoShared = tryShared(f.Same)
	f.Features, f.Lacks = processor()
	f.Files = FileLimit()
	f.system()
	f.folders(q)
	_, err := exec.LookPath("ssh")
	f.SSH = err == nil
	f.Compiler, _ = exec.LookPath("go") // none: only a launcher needs one
	return f
}

func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value[:min(12, len(s.Value))]
		}
	}
	return info.Main.Version
}

// ownAddrs are the addresses of this host beyond loopback, but for those that
// are of no use without naming an interface.
func ownAddrs() []net.IP {
	var ips []net.IP
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() {
			ips = append(ips, n.IP)
		}
	}
	return ips
}

// ifaces names the interface of each address.
func ifaces() map[string]string {
	all := map[string]string{}
	list, err := net.Interfaces()
	if err != nil {
		return nil
	}
	for _, i := range list {
		addrs, err := i.Addrs()
		if err != nil {
			continue // it has just gone
		}
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() {
				all[n.IP.String()] = i.Name
			}
		}
	}
	return all
}

// lookUpAll looks up names at once, so that a DNS server that is dead costs no
// more time for many than for one.
func lookUpAll(ctx context.Context, names []string) map[string][]string {
	ctx, cancel := context.WithTimeout(ctx, lookupTime)
	defer cancel()
	slices.Sort(names)
	names = slices.DeleteFunc(slices.Compact(names), func(name string) bool { return name == "" })
	found := make([][]string, len(names))
	var looking sync.WaitGroup
	for i, name := range names {
		looking.Go(func() { found[i] = lookUp(ctx, name) })
	}
	looking.Wait()
	all := map[string][]string{}
	for i, name := range names {
		all[name] = found[i]
	}
	return all
}

func lookUp(ctx context.Context, name string) []string {
	addrs, err := net.DefaultResolver.LookupHost(ctx, name)
	if err != nil {
		return nil
	}
	return addrs
}

// tryLoopback sends something to this host itself.
func tryLoopback(ctx context.Context) error {
	e, err := listenEcho("127.0.0.1", newToken(), "loopback")
	if err != nil {
		return err
	}
	defer e.Close()
	w := tryWay(ctx, "127.0.0.1", Target{Host: "loopback", Token: e.token, Port: e.Port()})
	if w.TCP != Reached {
		return errors.New(w.Said)
	}
	return nil
}

// tryShared says why there is no shared memory, if there is none.
func tryShared(identity string) string {
	a, err := shm.NewArena()
	if err != nil {
		return err.Error()
	}
	a.Close()
	if identity == "" {
		return "this host does not say what it is: /proc/sys/kernel/random/boot_id or /proc/self/ns cannot be read"
	}
	return ""
}

// FileLimit is how many files and sockets a process of this user may open; 0 if
// the system does not say.
func FileLimit() uint64 {
	var l unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &l) != nil {
		return 0
	}
	return uint64(l.Max) // Go programs raise theirs to that
}

func (f *Facts) folders(q Query) {
	cache := q.Cache
	if user, err := os.UserCacheDir(); err == nil && cache == "" {
		cache = filepath.Join(user, "ringrun")
	} else if cache == "" {
		f.Homeless = err.Error()
	}
	if cache != "" {
		f.Folders = append(f.Folders, lookInto(cache, UseCache))
	}
	for _, d := range q.Dirs {
		if home, err := os.UserHomeDir(); err == nil && strings.HasPrefix(d, "~/") {
			d = filepath.Join(home, d[2:])
		}
		f.Folders = append(f.Folders, lookInto(d, UseData))
	}
}

// What folders are for.
const (
	UseCache = "ringrun and programs, copied or built"
	UseData  = "checkpoints and output"
)

// lookInto tries to write to a folder, which it makes if need be.
func lookInto(dir, use string) Folder {
	f := Folder{Path: dir, Use: use}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		f.Error = err.Error()
		dir = existing(dir)
	} else if err := tryWrite(dir); err != nil {
		f.Error = err.Error()
	}
	f.Free, f.NoExec, f.Inodes, f.Sized = fileSystem(dir)
	return f
}

func existing(dir string) string {
	for dir != "/" && dir != "." {
		if _, err := os.Stat(dir); err == nil {
			return dir
		}
		dir = filepath.Dir(dir)
	}
	return dir
}

// tryWrite writes as much as no file system keeps beside its data.
func tryWrite(dir string) error {
	file, err := os.CreateTemp(dir, ".doctor")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	_, err = file.Write(make([]byte, 64<<10))
	if e := file.Close(); err == nil {
		err = e
	}
	return err
}
