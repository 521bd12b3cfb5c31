//go:build !amd64 || noasm

package simd

// assembly has nothing here: the plain forms are all there are.
func assembly() []Set { return nil }
