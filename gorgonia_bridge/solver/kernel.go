package solver

import "math"

type float interface{ float32 | float64 }

// Kernels are one pass each over the elements of a parameter. Every product is
// converted before it is added: without that the compiler may round product and
// sum together where the processor can (GOAMD64=v3, arm64), and ranks on
// different processors would drift apart. Assembly may take the place of the
// plain ones, and then gives the same bits.
type kernels[T float] struct {
	sgd                         func(w, g []T, c coef[T])
	momentum, nesterov, rmsprop func(w, g, v []T, c coef[T])
	adam                        func(w, g, m, v []T, c coef[T])
	lamb                        func(u, w, g, m, v []T, c coef[T])
	usable                      func(x []T) bool
	lanes                       func(x []T) [lanes]float64
}

var kernels64 = plain[float64]()

func plain[T float]() kernels[T] {
	return kernels[T]{sgd[T], momentum[T], nesterov[T], rmsprop[T], adam[T], lamb[T], usable[T], laneSquares[T]}
}

// A coef is what the elements of one parameter have in common in one step.
type coef[T float] struct {
	scale, clip T // of the gradient: multiplied by scale, then within ±clip
	l2          T // times the weight, is added to it
	rate, keep  T // the weight becomes keep·weight - rate·direction
	beta1, new1 T // a mean becomes beta1·mean + new1·gradient
	beta2, new2 T // the same of squares
	eps         T
}

// sgd: the direction is the gradient.
func sgd[T float](w, g []T, c coef[T]) {
	g = g[:len(w)]
	for i, x := range g {
		x = clamp(T(x*c.scale), c.clip) + T(c.l2*w[i])
		w[i] = T(c.keep*w[i]) - T(c.rate*x)
	}
}

// momentum: the direction is the velocity, which is a sum of gradients.
func momentum[T float](w, g, v []T, c coef[T]) {
	g, v = g[:len(w)], v[:len(w)]
	for i, x := range g {
		x = clamp(T(x*c.scale), c.clip) + T(c.l2*w[i])
		v[i] = T(c.beta1*v[i]) + x
		w[i] = T(c.keep*w[i]) - T(c.rate*v[i])
	}
}

// nesterov: the direction is what the velocity would be after one more such step.
func nesterov[T float](w, g, v []T, c coef[T]) {
	g, v = g[:len(w)], v[:len(w)]
	for i, x := range g {
		x = clamp(T(x*c.scale), c.clip) + T(c.l2*w[i])
		v[i] = T(c.beta1*v[i]) + x
		w[i] = T(c.keep*w[i]) - T(c.rate*(x+T(c.beta1*v[i])))
	}
}

// rmsprop: the direction is the gradient over the root of the mean square.
func rmsprop[T float](w, g, v []T, c coef[T]) {
	g, v = g[:len(w)], v[:len(w)]
	for i, x := range g {
		x = clamp(T(x*c.scale), c.clip) + T(c.l2*w[i])
		v[i] = T(c.beta2*v[i]) + T(T(c.new2*x)*x)
		w[i] = T(c.keep*w[i]) - T(T(c.rate*x)/root(v[i]+c.eps))
	}
}

// adam: the direction is the mean over the root of the mean square.
func adam[T float](w, g, m, v []T, c coef[T]) {
	g, m, v = g[:len(w)], m[:len(w)], v[:len(w)]
	scale, clip, l2, rate, keep := c.scale, c.clip, c.l2, c.rate, c.keep
	beta1, new1, beta2, new2, eps := c.beta1, c.new1, c.beta2, c.new2, c.eps
	for i, x := range g {
		x = clamp(T(x*scale), clip) + T(l2*w[i])
		mean := T(beta1*m[i]) + T(new1*x)
		sq := T(beta2*v[i]) + T(T(new2*x)*x)
		m[i], v[i] = mean, sq
		w[i] = T(keep*w[i]) - T(T(rate*mean)/(root(sq)+eps))
	}
}

// lamb writes Adam's direction to u, and keep·w added to it; w stays.
func lamb[T float](u, w, g, m, v []T, c coef[T]) {
	u, g, m, v = u[:len(w)], g[:len(w)], m[:len(w)], v[:len(w)]
	for i, x := range g {
		x = clamp(T(x*c.scale), c.clip) + T(c.l2*w[i])
		m[i] = T(c.beta1*m[i]) + T(c.new1*x)
		v[i] = T(c.beta2*v[i]) + T(T(c.new2*x)*x)
		u[i] = T(T(c.rate*m[i])/(root(v[i])+c.eps)) + T(c.keep*w[i])
	}
}

// prepare writes the gradient as a step uses it to x.
func prepare[T float](x, g []T, c coef[T]) {
	x = x[:len(g)]
	for i, y := range g {
		x[i] = clamp(T(y*c.scale), c.clip)
	}
}

func clamp[T float](x, limit T) T {
	if x > limit {
		return limit
	}
	if x < -limit {
		return -limit
	}
	return x
}

// root is exact in both types: IEEE 754 wants it so, and a float32 that goes
// through float64 is rounded to the same.
func root[T float](x T) T { return T(math.Sqrt(float64(x))) }
