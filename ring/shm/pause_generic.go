//go:build !amd64 || noasm

package shm

// pause does nothing for a moment.
//
//go:noinline
func pause(n int) {
	for range n {
	}
}
