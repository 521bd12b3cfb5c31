//go:build !amd64 || noasm

package solver

var kernels32 = plain[float32]()
