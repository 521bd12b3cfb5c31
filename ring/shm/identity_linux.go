package shm

import (
	"os"
	"strings"
	"sync"
)

// Identity names what two peers must have in common to share memory: the same
// run of the same kernel, and the same namespaces of network (the sockets live
// there) and IPC (who separates those wants memory to be separate). It is empty
// if this host offers no shared memory, or will not say what it is.
func Identity() string { return identity() }

var identity = sync.OnceValue(func() string {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	parts := []string{strings.TrimSpace(string(boot))}
	for _, ns := range []string{"net", "ipc"} {
		name, err := os.Readlink("/proc/self/ns/" + ns)
		if err != nil {
			return ""
		}
		parts = append(parts, name)
	}
	if probe() != nil {
		return ""
	}
	return strings.Join(parts, " ")
})

// probe finds out whether this kernel has what segments need.
func probe() error {
	s, fd, err := newSegment(minRing)
	if err != nil {
		return err
	}
	defer s.unmap()
	t, err := adopt(fd)
	if err != nil {
		return err
	}
	t.unmap()
	return nil
}
