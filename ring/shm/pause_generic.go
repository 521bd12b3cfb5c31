//go:build !amd64 || noasm

package shm

import "sync/atomic"

// pause does nothing for a moment.
//
//go:noinline
func pause(n int) {
	for range n {
	}
}

// spin looks at a word until it has reached a value, at most n times and at
// least once, and returns it.
func spin(word *atomic.Uint64, value uint64, n int) uint64 {
	for {
		v := word.Load()
		if n--; v >= value || n <= 0 {
			return v
		}
		pause(8)
	}
}
