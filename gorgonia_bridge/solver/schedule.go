package solver

import "math"

// A Schedule gives the learning rate of a step; the first one is step 0. It must
// give the same on all peers, so it depends on nothing else that changes, and
// avoids math.Exp, math.Pow and the like, whose last bit differs between
// processors. Those of this package are exact in that sense.
type Schedule func(step int) float64

// Constant is the same rate for ever.
func Constant(rate float64) Schedule {
	return func(int) float64 { return rate }
}

// LinearScaling is what Goyal et al. (2017) do for a batch that is k times as
// large: k times the rate of the base, reached from the base itself in equal
// increments at each of the first warmup steps. They warm up for 5 epochs. The
// base knows the steps of the large batch, of which an epoch has fewer.
func LinearScaling(base Schedule, k float64, warmup int) Schedule {
	return func(step int) float64 {
		if step >= warmup {
			return k * base(step)
		}
		return base(step) * (1 + float64((k-1)*float64(step))/float64(warmup))
	}
}

// WarmUp grows from near nothing to the rate of the base, in equal increments at
// each of the first steps: step i has (i+1)/steps of it.
func WarmUp(base Schedule, steps int) Schedule {
	return func(step int) float64 {
		if step >= steps {
			return base(step)
		}
		return base(step) * float64(step+1) / float64(steps)
	}
}

// StepDecay multiplies the rate by factor at each of the given steps.
func StepDecay(rate, factor float64, at ...int) Schedule {
	return func(step int) float64 {
		r := rate
		for _, a := range at {
			if step >= a {
				r *= factor
			}
		}
		return r
	}
}

// Cosine falls from one rate to another along half a wave that ends at the given
// step.
func Cosine(from, to float64, steps int) Schedule {
	return func(step int) float64 {
		left := (1 + cosPi(progress(step, steps))) / 2
		return to + float64((from-to)*left)
	}
}

// Polynomial falls from one rate to another, that it reaches at the given step,
// like a power of what is left of the way: 1 for a straight line, 2 as for LARS.
func Polynomial(from, to float64, steps, exponent int) Schedule {
	return func(step int) float64 {
		left := power(1-progress(step, steps), exponent)
		return to + float64((from-to)*left)
	}
}

func progress(step, steps int) float64 {
	if step >= steps {
		return 1
	}
	return float64(step) / float64(steps)
}

// cosPi returns the cosine of πt, 0 ≤ t ≤ 1, alike on all processors.
func cosPi(t float64) float64 {
	switch {
	case t > 0.5:
		return -cosPi(1 - t)
	case t > 0.25:
		x := math.Pi * (0.5 - t)
		return float64(x * series(x*x, 1, 9)) // the sine
	}
	x := math.Pi * t
	return series(x*x, 0, 9)
}

// series returns Σ (-1)^i sq^i / (first+2i)! for i < terms.
func series(sq float64, first, terms int) float64 {
	y := 1.0
	for i := terms - 1; i > 0; i-- {
		n := first + 2*i
		y = 1 - float64(sq*y)/float64(n*(n-1))
	}
	return y
}
