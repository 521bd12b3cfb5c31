package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// memoryGroup makes a control group with so many bytes of memory for workers,
// or skips the test where that cannot be.
func memoryGroup(t *testing.T, bytes int) string {
	t.Helper()
	for root, limit := range map[string]string{"/sys/fs/cgroup/memory": "memory.limit_in_bytes", "/sys/fs/cgroup": "memory.max"} {
		dir := filepath.Join(root, fmt.Sprintf("ringrun-test-%d", os.Getpid()))
		if os.Mkdir(dir, 0o755) != nil {
			continue
		}
		if _, err := os.Stat(filepath.Join(dir, limit)); err != nil { // a folder among others, not a group with that controller
			_ = os.Remove(dir)
			continue
		}
		t.Cleanup(func() {
			for range 100 { // until the kernel has counted the last process out
				if err := syscall.Rmdir(dir); err == nil {
					return
				}
				time.Sleep(20 * time.Millisecond)
			}
			t.Errorf("%s is left", dir)
		})
		if os.WriteFile(filepath.Join(dir, limit), fmt.Append(nil, bytes), 0) == nil {
			return dir
		}
	}
	t.Skip("no control group can be made here")
	return ""
}

// p1Within is a shell script that runs a program, p1 in the control group $0.
const p1Within = `case $RINGRUN_ID in p1-*) echo $$ > "$0/cgroup.procs" || exit 1 ;; esac; exec "$@"`

// The kernel kills a worker that wants more memory than there is. Only that worker is
// in the group: of several it may take another one, too, while the memory of the first
// comes free.
func TestAutopsyOutOfMemory(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	dir := memoryGroup(t, 400<<20)
	s.ringrun("-n", "3", "-min-n", "2", "-restart", "never", "sh", "-c", p1Within, dir, trainerProg(t), "-steps", "300", "-eat", "p1").ends(0,
		`worker 1 was killed by SIGKILL`)
	s.ringrun("autopsy").ends(0,
		`^p1 on host \S+ was killed by signal 9 \(out of memory: \d+ MB in use, the limit is 419 MB\), at .*; the others went on .* later, and ended well`)
}

// The network between two halves is cut, then between one peer and the others.
func TestAutopsyOfACut(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, for network namespaces")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip(err)
	}
	t.Parallel()
	for _, tt := range []struct{ script, want string }{
		{"cut {p0 p1} {p2 p3} for 7s at step 20", `^p\d on host \S+ was cut off by the network from p\d, p\d, which ran, and those who could reach each other were too few to go on`},
		{"cut {p0 p1 p3} {p2} for 7s at step 20", `^p2 on host \S+ was cut off`},
	} {
		t.Run(tt.script, func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			s.ringrun("chaos", "-n", "4", "-script", scriptFile(t, tt.script), trainerProg(t), "-silence", "0", "-steps", "1000").ends(0)
			s.ringrun("autopsy").ends(0, tt.want)
		})
	}
}
