//go:build !amd64 || noasm

package simd

// Claim says that b is about to be written. It changes nothing.
func Claim([]byte) {}

// Overwrite is copy, of len(dst) bytes.
func Overwrite(dst, src []byte) { copy(dst, src[:len(dst)]) }
