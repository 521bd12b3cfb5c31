package bench

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// ParseSize reads a number of bytes: 4, 64K, 1.5M, 1G, with or without B or iB
// at the end. K is 1024.
func ParseSize(s string) (int, error) {
	number := strings.ToUpper(strings.TrimSpace(s))
	number = strings.TrimSuffix(strings.TrimSuffix(number, "B"), "I")
	unit := 1.0
	if i := strings.IndexAny(number, "KMG"); i >= 0 && i == len(number)-1 {
		unit = math.Pow(1024, 1+float64(strings.IndexByte("KMG", number[i])))
		number = number[:i]
	}
	x, err := strconv.ParseFloat(number, 64)
	if err != nil || x < 0 || x*unit > 1<<40 || x*unit != math.Trunc(x*unit) {
		return 0, fmt.Errorf("%q is not a size in bytes, such as 4, 64K, 1M or 1G", s)
	}
	return int(x * unit), nil
}

// FormatSize writes a number of bytes the way ParseSize reads it.
func FormatSize(bytes int) string {
	for _, unit := range []struct {
		bytes int
		name  string
	}{{1 << 30, "G"}, {1 << 20, "M"}, {1 << 10, "K"}} {
		if bytes >= unit.bytes && bytes%unit.bytes == 0 {
			return strconv.Itoa(bytes/unit.bytes) + unit.name
		}
	}
	return strconv.Itoa(bytes)
}
