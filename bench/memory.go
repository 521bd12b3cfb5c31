package bench

import (
	"os"
	"strconv"
	"strings"
)

// residentBytes returns how much memory this process has; 0 where there is no
// /proc/self/statm.
func residentBytes() float64 {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	return float64(residentPages(string(b)) * os.Getpagesize())
}

// residentPages reads the second field, which counts what is shared with others.
func residentPages(statm string) int {
	fields := strings.Fields(statm)
	if len(fields) < 2 {
		return 0
	}
	n, err := strconv.Atoi(fields[1])
	if err != nil {
		return 0
	}
	return n
}
