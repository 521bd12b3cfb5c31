package elastic

import (
	"io/fs"
	"testing"
	"time"
)

func TestMajorFaults(t *testing.T) {
	const rest = " R 1 4217 4217 34816 4217 4194304 9012 0 317 5 11 12 0 0 20 0 8 0 123456"
	for _, tt := range []struct {
		stat string
		want uint64
	}{
		{"4217 (worker)" + rest, 317},
		{"4217 (a) b (c d) 1 2 3)" + rest, 317}, // a program may call itself what it likes
		{"4217 (worker) R 1 4217", 0},
		{"4217 (worker) R 1 2 3 4 5 6 7 8 many 9", 0},
		{"4217 (worker)", 0},
		{"", 0},
	} {
		if got := majorFaults([]byte(tt.stat)); got != tt.want {
			t.Errorf("%q: %d, want %d", tt.stat, got, tt.want)
		}
	}
}

func TestScheduled(t *testing.T) {
	for _, tt := range []struct {
		text        string
		ran, queued time.Duration
	}{
		{"1500000000 20000000 431\n", 1500 * time.Millisecond, 20 * time.Millisecond},
		{"0 0 0\n", 0, 0},
		{"17\n", 0, 0}, // half of it is nothing
		{"", 0, 0},
	} {
		if ran, queued := scheduled([]byte(tt.text)); ran != tt.ran || queued != tt.queued {
			t.Errorf("%q: %v, %v; want %v, %v", tt.text, ran, queued, tt.ran, tt.queued)
		}
	}
}

func TestHostTicks(t *testing.T) {
	for _, tt := range []struct {
		text          string
		stolen, total float64
	}{
		{"cpu  100 20 30 400 5 6 7 80 90 10\ncpu0 1 2 3 4 5 6 7 8 9 10\n", 80, 648}, // guests are in the first two
		{"cpu  100 20 30 400\n", 0, 550},                                            // a kernel that tells less
		{"intr 5\n", 0, 0},
		{"", 0, 0},
	} {
		if stolen, total := hostTicks([]byte(tt.text)); stolen != tt.stolen || total != tt.total {
			t.Errorf("%q: %v of %v, want %v of %v", tt.text, stolen, total, tt.stolen, tt.total)
		}
	}
}

func TestThrottled(t *testing.T) {
	const stat = "usage_usec 100\nnr_throttled 4\nthrottled_usec 2500000\nnr_bursts 0\n"
	for _, tt := range []struct {
		name  string
		files map[string]string
		want  time.Duration
	}{
		{"in a group", map[string]string{"/proc/self/cgroup": "0::/a/b\n", "/sys/fs/cgroup/a/b/cpu.stat": stat}, 2500 * time.Millisecond},
		{"in a container", map[string]string{"/proc/self/cgroup": "0::/\n", "/sys/fs/cgroup/cpu.stat": stat}, 2500 * time.Millisecond},
		{"both versions", map[string]string{"/proc/self/cgroup": "4:cpu:/x\n0::/a\n", "/sys/fs/cgroup/a/cpu.stat": stat}, 2500 * time.Millisecond},
		{"without the controller", map[string]string{"/proc/self/cgroup": "0::/a\n", "/sys/fs/cgroup/a/cpu.stat": "usage_usec 100\n"}, 0},
		{"of version 1", map[string]string{"/proc/self/cgroup": "4:cpu:/x\n"}, 0},
		{"without its file", map[string]string{"/proc/self/cgroup": "0::/a\n"}, 0},
		{"nothing", nil, 0},
	} {
		got := throttledIn(func(name string) ([]byte, error) {
			text, ok := tt.files[name]
			if !ok {
				return nil, fs.ErrNotExist
			}
			return []byte(text), nil
		})
		if got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}
