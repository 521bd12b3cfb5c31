package elastic

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// readCounters reads /proc. What cannot be read is 0.
func readCounters() counters {
	c := counters{at: time.Now()}
	if b, err := os.ReadFile("/proc/self/stat"); err == nil {
		c.faults = majorFaults(b)
	}
	tasks, _ := filepath.Glob("/proc/self/task/*/schedstat")
	for _, name := range tasks {
		if b, err := os.ReadFile(name); err == nil { // else the thread has ended
			ran, queued := scheduled(b)
			c.ran += ran
			c.queued += queued
		}
	}
	c.throttled = throttledIn(os.ReadFile)
	if b, err := os.ReadFile("/proc/stat"); err == nil {
		c.stolen, c.total = hostTicks(b)
	}
	return c
}

// scheduled reads /proc/PID/task/TID/schedstat.
func scheduled(b []byte) (ran, queued time.Duration) {
	n := numbersIn(b)
	if len(n) < 2 {
		return 0, 0
	}
	return time.Duration(n[0]), time.Duration(n[1])
}

// hostTicks reads the first line of /proc/stat.
func hostTicks(b []byte) (stolen, total float64) {
	line, _, _ := bytes.Cut(b, []byte("\n"))
	for i, n := range numbersIn(bytes.TrimPrefix(line, []byte("cpu"))) {
		if i == 7 {
			stolen = n
		}
		if i < 8 { // the rest is part of the first
			total += n
		}
	}
	return stolen, total
}

func numbersIn(b []byte) []float64 {
	var all []float64
	for _, f := range bytes.Fields(b) {
		n, err := strconv.ParseFloat(string(f), 64)
		if err != nil {
			return all
		}
		all = append(all, n)
	}
	return all
}

// majorFaults reads the 12th field of /proc/PID/stat. The second is a name in
// brackets that may hold anything.
func majorFaults(stat []byte) uint64 {
	_, rest, _ := bytes.Cut(stat[max(bytes.LastIndexByte(stat, ')'), 0):], []byte(" "))
	fields := bytes.Fields(rest)
	if len(fields) < 10 {
		return 0
	}
	n, _ := strconv.ParseUint(string(fields[9]), 10, 64)
	return n
}

// throttledIn reads for how long the limit of this process's cgroup, of version 2,
// has stopped it.
func throttledIn(read func(string) ([]byte, error)) time.Duration {
	b, err := read("/proc/self/cgroup")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::")
		if !ok {
			continue
		}
		stat, err := read(filepath.Join("/sys/fs/cgroup", path, "cpu.stat"))
		if err != nil {
			return 0
		}
		for line := range strings.Lines(string(stat)) {
			if n, ok := strings.CutPrefix(strings.TrimSpace(line), "throttled_usec "); ok {
				us, _ := strconv.ParseInt(n, 10, 64)
				return time.Duration(us) * time.Microsecond
			}
		}
	}
	return 0
}
