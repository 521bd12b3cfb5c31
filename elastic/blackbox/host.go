package blackbox

import (
	"bytes"
	"os"
	"strconv"
	"strings"
)

// Boot names this start of this host's kernel: processes with the same one have
// the same clock. Where the kernel does not say, the name of the host stands for it.
func Boot() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		name, _ := os.Hostname()
		return name
	}
	return strings.TrimSpace(string(b))
}

// StartOf returns when a process was started, in the kernel's ticks, and its state
// (R, S, T, …); false if there is none, or nobody says.
func StartOf(pid int) (ticks uint64, state string, ok bool) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, "", false
	}
	i := bytes.LastIndexByte(b, ')') // the name before may hold anything
	fields := strings.Fields(string(b[i+1:]))
	if i < 0 || len(fields) < 20 {
		return 0, "", false
	}
	ticks, err = strconv.ParseUint(fields[19], 10, 64)
	return ticks, fields[0], err == nil
}

// Resident returns the bytes of memory that this process has in use, 0 if nobody
// says.
func Resident() uint64 {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(b))
	if len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.ParseUint(fields[1], 10, 64)
	return pages * uint64(os.Getpagesize())
}

// Limit returns how many bytes of memory a process may have, by its control group
// or because the host has no more; 0 if nobody says.
func Limit(pid int) uint64 {
	text, _ := os.ReadFile("/proc/meminfo") // without it only the groups count
	return leastMemory(memTotal(string(text)), Groups(pid))
}

func leastMemory(least uint64, groups []string) uint64 {
	for _, name := range []string{"memory.max", "memory.limit_in_bytes"} {
		for _, dir := range groups {
			b, err := os.ReadFile(dir + "/" + name)
			n, err2 := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
			if err == nil && err2 == nil && (least == 0 || n < least) {
				least = n
			}
		}
	}
	return least
}

func memTotal(meminfo string) uint64 {
	for line := range strings.Lines(meminfo) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "MemTotal:" {
			kb, _ := strconv.ParseUint(f[1], 10, 64)
			return kb << 10
		}
	}
	return 0
}

// Groups returns the folders of the control groups that a process is in, as far as
// they are about memory, the innermost first.
func Groups(pid int) []string {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cgroup")
	if err != nil {
		return nil
	}
	return groupFolders(string(b))
}

func groupFolders(text string) []string {
	var all []string
	for line := range strings.Lines(text) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) != 3 {
			continue
		}
		root := ""
		switch {
		case f[0] == "0" && f[1] == "":
			root = "/sys/fs/cgroup"
		case f[1] == "memory":
			root = "/sys/fs/cgroup/memory"
		default:
			continue
		}
		for path := strings.TrimSuffix(f[2], "/"); ; path = path[:strings.LastIndexByte(path, '/')] {
			all = append(all, root+path)
			if !strings.Contains(path, "/") {
				break
			}
		}
	}
	return all
}
