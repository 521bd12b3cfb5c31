package bench

import (
	"bufio"
	"bytes"
	"os"
	"strconv"
	"strings"
)

// userHz is the unit of /proc/stat, which Linux fixes at 1/100 s.
const userHz = 100

// machineSeconds returns how long the processors of this machine have been busy
// and how long the host under it took them away, since it started; zeros
// where there is no /proc/stat.
func machineSeconds() (busy, steal float64) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, 0
	}
	return parseStat(b)
}

// parseStat reads the first line of /proc/stat: "cpu", then ticks spent in user,
// nice, system, idle, iowait, irq, softirq and steal.
func parseStat(b []byte) (busy, steal float64) {
	s := bufio.NewScanner(bytes.NewReader(b))
	if !s.Scan() {
		return 0, 0
	}
	fields := strings.Fields(s.Text())
	if len(fields) < 9 || fields[0] != "cpu" {
		return 0, 0
	}
	for i, f := range fields[1:9] {
		ticks, err := strconv.ParseFloat(f, 64)
		switch {
		case err != nil:
			return 0, 0
		case i == 7:
			steal = ticks / userHz
		case i != 3 && i != 4:
			busy += ticks / userHz
		}
	}
	return busy, steal
}
