//go:build !noasm

package shm

import "sync/atomic"

// pause tells the processor, at least once, that we only wait.
//
//go:noescape
func pause(n int)

// spin looks at a word until it has reached a value, at most n times and at
// least once, and returns it. Between two looks the processor pauses.
//
//go:noescape
func spin(word *atomic.Uint64, value uint64, n int) uint64
