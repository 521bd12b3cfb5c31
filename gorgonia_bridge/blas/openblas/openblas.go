// Package openblas multiplies matrices by OpenBLAS, through cgo, for those who
// have it and train in float64 or on processors that package blas has no assembly
// for. It takes part in a build with cgo and the tag openblas, which needs the
// library (Debian: libopenblas-dev):
//
//	CGO_ENABLED=1 go build -tags openblas
//
// In any other build Implementation is that of package blas, so a program need
// not know. OPENBLAS_NUM_THREADS sets the threads. The last bits of a product
// depend on their number and on the processor; peers still end with the same
// bits, because they apply the same averages.
package openblas

import "github.com/ringrun/ringrun/gorgonia_bridge/blas"

// Implementation is for gorgonia.Use: a BLAS with the Sgemm and Dgemm of OpenBLAS.
type Implementation struct{ blas.Implementation }
