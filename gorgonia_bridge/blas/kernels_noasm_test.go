//go:build !amd64 || noasm

package blas

// kernels are all that this machine can run.
func kernels() []*kernel { return []*kernel{generic} }
