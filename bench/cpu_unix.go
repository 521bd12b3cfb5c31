//go:build unix

package bench

import "syscall"

// processSeconds returns the processor time that this process has used, user
// and system, all threads.
func processSeconds() float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}
