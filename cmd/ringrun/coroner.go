package main

import (
	"bytes"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/ringrun/ringrun/elastic/blackbox"
	"golang.org/x/sys/unix"
)

// A coroner knows of one worker what only its agent can: how it ended, what it
// said last, and whether the kernel wanted its memory.
type coroner struct {
	dir    string // of the black boxes; "": nothing is kept
	end    blackbox.End
	hunger *hunger

	mu    sync.Mutex // guards the fields below
	crash string
	last  string
	at    time.Time // when it was gone
}

// newCoroner begins with a worker that will be started with env.
func newCoroner(h *hunger, worker int, env []string) *coroner {
	run := value(env, "RINGRUN_RUN")
	c := &coroner{dir: boxesFor(run), hunger: h}
	c.end = blackbox.End{ID: value(env, "RINGRUN_ID"), Run: run, Worker: worker, Boot: blackbox.Boot(), Began: time.Now().UnixNano()}
	c.end.Host, _ = os.Hostname()
	return c
}

// value returns that of a variable.
func value(env []string, name string) string {
	for _, v := range env {
		if s, ok := strings.CutPrefix(v, name+"="); ok {
			return s
		}
	}
	return ""
}

// begins takes up that the worker runs.
func (c *coroner) begins(pid int) {
	c.end.PID, c.end.Limit = pid, blackbox.Limit(pid)
	c.hunger.watch(pid)
}

// crashes are how lines begin with which a program says that it crashes.
var crashes = [][]byte{[]byte("panic: "), []byte("fatal error: "), []byte("runtime: out of memory"), []byte("unexpected fault address")}

// hear takes up one line of stderr.
func (c *coroner) hear(line []byte) {
	line = bytes.TrimRight(line, " \t\r\n")
	if len(line) == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	const enough = 500
	c.last = string(line[:min(len(line), enough)])
	for _, p := range crashes {
		if bytes.HasPrefix(line, p) {
			c.crash = c.last
		}
	}
}

// gone takes up that the process is no more; what it has written may still come.
func (c *coroner) gone() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = time.Now()
}

// goCrash is the status with which the Go run-time system ends a program.
const goCrash = 2

// ends writes down how the worker has ended, and returns that.
func (c *coroner) ends(e event, state *os.ProcessState, asked string) *blackbox.End {
	c.mu.Lock()
	defer c.mu.Unlock()
	end := c.end
	end.Time, end.Status, end.Asked, end.Last = c.at.UnixNano(), e.Status, asked, c.last
	if e.Signal != 0 {
		end.Signal, end.Number = unix.SignalName(e.Signal), int(e.Signal)
	}
	if e.Signal != 0 && e.Signal != syscall.SIGKILL || e.Status == goCrash {
		end.Crash = c.crash
	}
	if state != nil {
		if ru, ok := state.SysUsage().(*syscall.Rusage); ok {
			end.Memory = peak(ru)
		}
	}
	if e.Signal == syscall.SIGKILL {
		end.OOM = c.hunger.grew()
	}
	if c.dir != "" {
		_ = end.Write(c.dir) // a disk that is full does not stop the run
	}
	return &end
}

// A hunger knows when the kernel has killed processes for want of memory: on the
// host, or in the control groups of the workers. It looks once a second, so that
// one of long ago does not count.
type hunger struct {
	mu     sync.Mutex // guards the fields below
	files  []string
	count  uint64
	before uint64 // the count a second ago
}

const hungerTime = time.Second

// watch begins to look at the groups of a process. The goroutine is the agent's,
// and ends with it.
func (h *hunger) watch(pid int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.files == nil {
		go h.run()
	}
	files := []string{"/proc/vmstat"}
	if groups := blackbox.Groups(pid); len(groups) > 0 { // counts in a group are also of those within
		files = append(files, groups[0]+"/memory.events", groups[0]+"/memory.oom_control")
	}
	for _, name := range files {
		if !slices.Contains(h.files, name) {
			h.files = append(h.files, name)
			n := oomKills([]string{name})
			h.count, h.before = h.count+n, h.before+n
		}
	}
}

func (h *hunger) run() {
	for range time.Tick(hungerTime) {
		h.mu.Lock()
		h.before, h.count = h.count, oomKills(h.files)
		h.mu.Unlock()
	}
}

// grew reports whether the kernel has killed somebody in the last second or two.
func (h *hunger) grew() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return oomKills(h.files) > h.before
}

// oomKills adds up what the files count. A kill may be in several: only that the sum
// grows matters.
func oomKills(files []string) (n uint64) {
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(b)) {
			if f := strings.Fields(line); len(f) == 2 && f[0] == "oom_kill" {
				k, _ := strconv.ParseUint(f[1], 10, 64)
				n += k
			}
		}
	}
	return n
}
