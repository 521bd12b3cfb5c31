//go:build !noasm

package blas

// kernels are all that this machine can run.
func kernels() []*kernel {
	switch best {
	case avx512:
		return []*kernel{generic, avx2, avx512}
	case avx2:
		return []*kernel{generic, avx2}
	}
	return []*kernel{generic}
}
