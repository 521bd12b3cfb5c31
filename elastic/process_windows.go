package elastic

import (
	"errors"
	"os"
	"syscall"
)

func closeOnExec(fd int) { syscall.CloseOnExec(syscall.Handle(fd)) }

// endSelf kills this process: Windows has no signal that only asks it to end.
func endSelf(kill bool) error {
	if !kill {
		return errors.ErrUnsupported
	}
	p, err := os.FindProcess(os.Getpid())
	if err != nil {
		return err
	}
	return p.Kill()
}
