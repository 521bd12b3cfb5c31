//go:build !noasm

package solver

import "golang.org/x/sys/cpu"

var kernels32 = fastest32()

func fastest32() kernels[float32] {
	if !cpu.X86.HasAVX2 {
		return plain[float32]()
	}
	return kernels[float32]{sgd32, momentum32, nesterov32, rmsprop32, adam32, lamb32, usable32, lanes32}
}

// The assembly does the multiple of 8 elements at the beginning, in the order of
// operations of the plain kernel, which does the rest.

func sgd32(w, g []float32, c coef[float32]) {
	n, g := len(w)&^7, g[:len(w)]
	if n > 0 {
		sgdAVX2(&w[0], &g[0], n, &c)
	}
	sgd(w[n:], g[n:], c)
}

func momentum32(w, g, v []float32, c coef[float32]) {
	n, g, v := len(w)&^7, g[:len(w)], v[:len(w)]
	if n > 0 {
		momentumAVX2(&w[0], &g[0], &v[0], n, &c)
	}
	momentum(w[n:], g[n:], v[n:], c)
}

func nesterov32(w, g, v []float32, c coef[float32]) {
	n, g, v := len(w)&^7, g[:len(w)], v[:len(w)]
	if n > 0 {
		nesterovAVX2(&w[0], &g[0], &v[0], n, &c)
	}
	nesterov(w[n:], g[n:], v[n:], c)
}

func rmsprop32(w, g, v []float32, c coef[float32]) {
	n, g, v := len(w)&^7, g[:len(w)], v[:len(w)]
	if n > 0 {
		rmspropAVX2(&w[0], &g[0], &v[0], n, &c)
	}
	rmsprop(w[n:], g[n:], v[n:], c)
}

func adam32(w, g, m, v []float32, c coef[float32]) {
	n, g, m, v := len(w)&^7, g[:len(w)], m[:len(w)], v[:len(w)]
	if n > 0 {
		adamAVX2(&w[0], &g[0], &m[0], &v[0], n, &c)
	}
	adam(w[n:], g[n:], m[n:], v[n:], c)
}

func lamb32(u, w, g, m, v []float32, c coef[float32]) {
	n, u, g, m, v := len(w)&^7, u[:len(w)], g[:len(w)], m[:len(w)], v[:len(w)]
	if n > 0 {
		lambAVX2(&u[0], &w[0], &g[0], &m[0], &v[0], n, &c)
	}
	lamb(u[n:], w[n:], g[n:], m[n:], v[n:], c)
}

func usable32(x []float32) bool {
	n := len(x) &^ 7
	return (n == 0 || usableAVX2(&x[0], n)) && usable(x[n:])
}

func lanes32(x []float32) (lane [lanes]float64) {
	if len(x) > 0 {
		squaresAVX2(&x[0], len(x), &lane)
	}
	return lane
}

//go:noescape
func sgdAVX2(w, grad *float32, n int, c *coef[float32])

//go:noescape
func momentumAVX2(w, grad, v *float32, n int, c *coef[float32])

//go:noescape
func nesterovAVX2(w, grad, v *float32, n int, c *coef[float32])

//go:noescape
func rmspropAVX2(w, grad, v *float32, n int, c *coef[float32])

//go:noescape
func adamAVX2(w, grad, m, v *float32, n int, c *coef[float32])

//go:noescape
func lambAVX2(u, w, grad, m, v *float32, n int, c *coef[float32])

//go:noescape
func usableAVX2(x *float32, n int) bool

//go:noescape
func squaresAVX2(x *float32, n int, lane *[8]float64)
