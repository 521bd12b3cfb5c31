package allreduce

import "syscall"

// yield lets other processes run, if any wait for this processor.
func yield() { syscall.RawSyscall(syscall.SYS_SCHED_YIELD, 0, 0, 0) }
