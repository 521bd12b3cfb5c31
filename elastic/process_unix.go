//go:build unix

package elastic

import (
	"os"
	"syscall"
)

func closeOnExec(fd int) { syscall.CloseOnExec(fd) }

// endSelf asks this process to end, or kills it.
func endSelf(kill bool) error {
	s := syscall.SIGTERM
	if kill {
		s = syscall.SIGKILL
	}
	return syscall.Kill(os.Getpid(), s)
}
