package main

import (
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// workerAttr puts a worker into a process group of its own, out of reach of the
// terminal's Ctrl-C, and has the kernel kill it when the agent ends.
func workerAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// reap waits for the child. It calls ended when the child has ended but still
// holds its number, which is also that of its group: until then neither can be
// given to another process.
func reap(cmd *exec.Cmd, ended func()) error {
	for unix.Waitid(unix.P_PID, cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
	}
	ended()
	return cmd.Wait()
}

// peak is the most memory that a process had, in bytes.
func peak(ru *syscall.Rusage) uint64 { return uint64(ru.Maxrss) << 10 }

// setProcessName changes what ps and killall see.
func setProcessName(name string) {
	_ = os.WriteFile("/proc/self/comm", []byte(name), 0) // only a precaution
}
