package doctor

import (
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// system fills in what Linux tells in /proc and /sys.
func (f *Facts) system() {
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		f.Kernel = unix.ByteSliceToString(u.Release[:])
	}
	f.Ports = strings.Join(strings.Fields(read("/proc/sys/net/ipv4/ip_local_port_range")), "-")
	if words := strings.Fields(read("/proc/loadavg")); len(words) > 0 {
		f.Load, _ = strconv.ParseFloat(words[0], 64)
	}
	for line := range strings.Lines(read("/proc/meminfo")) {
		if words := strings.Fields(line); len(words) > 1 && words[0] == "MemAvailable:" {
			kib, _ := strconv.ParseInt(words[1], 10, 64)
			f.Memory = kib << 10
		}
	}
	f.confine(read("/proc/self/cgroup"), "/sys/fs/cgroup")
}

func read(name string) string {
	b, err := os.ReadFile(name)
	if err != nil {
		return ""
	}
	return string(b)
}

// confine takes the limits of the control group and of those above it: version 2,
// and what most containers show of version 1.
func (f *Facts) confine(groups, root string) {
	group := "/"
	for line := range strings.Lines(groups) {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			group = rest
		}
	}
	for {
		dir := filepath.Join(root, group)
		if quota, period, ok := strings.Cut(strings.TrimSpace(read(filepath.Join(dir, "cpu.max"))), " "); ok {
			f.limitCPU(quota, period)
		}
		f.limitMemory(read(filepath.Join(dir, "memory.max")), read(filepath.Join(dir, "memory.current")), read(filepath.Join(dir, "memory.stat")))
		if group == "/" || group == "." {
			break
		}
		group = filepath.Dir(group)
	}
	f.limitCPU(read(filepath.Join(root, "cpu/cpu.cfs_quota_us")), read(filepath.Join(root, "cpu/cpu.cfs_period_us")))
	f.limitMemory(read(filepath.Join(root, "memory/memory.limit_in_bytes")), read(filepath.Join(root, "memory/memory.usage_in_bytes")),
		read(filepath.Join(root, "memory/memory.stat")))
}

func (f *Facts) limitCPU(quota, period string) {
	q, err := strconv.ParseFloat(strings.TrimSpace(quota), 64)
	p, err2 := strconv.ParseFloat(strings.TrimSpace(period), 64)
	if err != nil || err2 != nil || q <= 0 || p <= 0 {
		return // "max", -1, or no such file
	}
	if cores := q / p; f.Quota == 0 || cores < f.Quota {
		f.Quota = cores
	}
}

// limitMemory takes what a group may still have. Copies of files count as used, and
// yet are given up when somebody wants their room.
func (f *Facts) limitMemory(limit, used, stat string) {
	l, err := strconv.ParseInt(strings.TrimSpace(limit), 10, 64)
	u, err2 := strconv.ParseInt(strings.TrimSpace(used), 10, 64)
	if err != nil || err2 != nil || l > math.MaxInt64/4 {
		return
	}
	prefix := ""
	if strings.Contains(stat, "total_") { // version 1: with the groups below
		prefix = "total_"
	}
	for line := range strings.Lines(stat) {
		if words := strings.Fields(line); len(words) == 2 && (words[0] == prefix+"active_file" || words[0] == prefix+"inactive_file") {
			n, _ := strconv.ParseInt(words[1], 10, 64)
			u -= n
		}
	}
	f.Memory = min(f.Memory, max(l-max(u, 0), 1)) // 0: not known
}

// fileSystem tells how much may be written to a folder, and whether programs run
// there.
func fileSystem(dir string) (free int64, noExec, noInodes, ok bool) {
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) != nil {
		return 0, false, false, false
	}
	return int64(st.Bavail) * st.Bsize, st.Flags&unix.ST_NOEXEC != 0, st.Files > 0 && st.Ffree == 0, true
}
