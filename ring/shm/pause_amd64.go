//go:build !noasm

package shm

// pause tells the processor, at least once, that we only wait.
//
//go:noescape
func pause(n int)
