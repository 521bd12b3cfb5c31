//go:build !amd64 || noasm

package blas

var best = generic
