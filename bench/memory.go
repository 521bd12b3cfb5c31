package bench

import (
	"os"
	"strconv"
	"strings"
)

// residentBytes returns how much memory this process has, of what it shares with
// others its share; where the system does not tell shares, all of that; 0 where
// it tells nothing.
func residentBytes() float64 {
	if b, err := os.ReadFile("/proc/self/smaps_rollup"); err == nil {
		return 1024 * kilobytes(string(b), "Pss:")
	}
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	return 1024 * kilobytes(string(b), "VmRSS:")
}

// kilobytes returns the number behind a name at the start of a line, 0 if there is
// none.
func kilobytes(text, name string) float64 {
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) > 1 && fields[0] == name {
			n, _ := strconv.ParseFloat(fields[1], 64)
			return n
		}
	}
	return 0
}
