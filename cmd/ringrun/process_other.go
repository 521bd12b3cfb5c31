//go:build !linux

package main

import (
	"os/exec"
	"syscall"
)

// workerAttr puts a worker into a process group of its own, out of reach of the
// terminal's Ctrl-C. The guard kills it when the agent ends.
func workerAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// reap waits for the child and calls ended. Here a child cannot be awaited
// without giving up its number; the moment between is short.
func reap(cmd *exec.Cmd, ended func()) error {
	err := cmd.Wait()
	ended()
	return err
}

// peak is the most memory that a process had, in bytes.
func peak(ru *syscall.Rusage) uint64 { return uint64(ru.Maxrss) }

func setProcessName(string) {}
