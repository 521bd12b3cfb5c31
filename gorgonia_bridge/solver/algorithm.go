package solver

import "math"

// An algorithm is what a constructor makes a solver of.
type algorithm struct {
	name     string
	keeps    []string // what it keeps for each element
	takes    []string // its options besides the common ones
	scratch  bool     // whether it needs memory for a direction
	defaults hyper
	update32 func(*hyper, *kernels[float32], part[float32])
	update64 func(*hyper, *kernels[float64], part[float64])
}

// A part is the work of one step on one parameter.
type part[T float] struct {
	w, g     []T
	kept     [2][]T // as in algorithm.keeps
	scratch  []T    // as long as w, for LARS and LAMB
	steps    int    // this one included, that the parameter has had
	rate     float64
	scale    float64 // of the gradient
	excluded bool
}

// NewSGD makes a solver that follows the gradient: w -= rate·g.
// By default the rate is 0.001.
func NewSGD(opts ...Option) *Solver {
	return newSolver(algorithm{
		name:     "SGD",
		takes:    []string{"WithL2Reg", "WithWeightDecay"},
		defaults: hyper{rate: 0.001},
		update32: updateSGD[float32], update64: updateSGD[float64],
	}, opts)
}

// NewMomentum makes a solver that follows a velocity: v = mu·v + g, w -= rate·v,
// or with Nesterov w -= rate·(g + mu·v). The velocity does not contain the rate,
// so it stays right when that changes. By default the rate is 0.001 and mu 0.9.
func NewMomentum(opts ...Option) *Solver {
	return newSolver(algorithm{
		name:     "Momentum",
		keeps:    []string{"velocity"},
		takes:    []string{"WithMomentum", "WithNesterov", "WithL2Reg", "WithWeightDecay"},
		defaults: hyper{rate: 0.001, momentum: 0.9},
		update32: updateMomentum[float32], update64: updateMomentum[float64],
	}, opts)
}

// NewRMSProp makes a solver that divides by the root of the mean square of past
// gradients: v = rho·v + (1-rho)·g², w -= rate·g/√(v+eps).
// By default the rate is 0.001, rho 0.999 and eps 1e-8, as in Gorgonia.
func NewRMSProp(opts ...Option) *Solver {
	return newSolver(algorithm{
		name:     "RMSProp",
		keeps:    []string{"square"},
		takes:    []string{"WithRho", "WithEps", "WithL2Reg", "WithWeightDecay"},
		defaults: hyper{rate: 0.001, rho: 0.999, eps: 1e-8},
		update32: updateRMSProp[float32], update64: updateRMSProp[float64],
	}, opts)
}

// NewAdam makes the solver of Kingma and Ba (2015): with the mean m and the mean
// square v of past gradients, both without the bias of having begun at zero,
// w -= rate·m/(√v+eps).
// By default the rate is 0.001, beta1 0.9, beta2 0.999 and eps 1e-8.
func NewAdam(opts ...Option) *Solver {
	return newSolver(adamAlgorithm("Adam", hyper{}, "WithL2Reg"), opts)
}

// NewAdamW makes Adam with weight decay as Loshchilov and Hutter (2019) have it:
// w -= rate·decay·w besides. By default the decay is 0.01, the rest as in Adam.
func NewAdamW(opts ...Option) *Solver {
	return newSolver(adamAlgorithm("AdamW", hyper{decay: 0.01}), opts)
}

func adamAlgorithm(name string, defaults hyper, takes ...string) algorithm {
	defaults.rate, defaults.beta1, defaults.beta2, defaults.eps = 0.001, 0.9, 0.999, 1e-8
	return algorithm{
		name:     name,
		keeps:    []string{"mean", "square"},
		takes:    append(takes, "WithBeta1", "WithBeta2", "WithEps", "WithWeightDecay"),
		defaults: defaults,
		update32: updateAdam[float32], update64: updateAdam[float64],
	}
}

// NewLARS makes the solver of You et al. (2017) for large batches: momentum, in
// which every parameter moves in proportion to its own norm:
// local = trust·|w|/(|g| + decay·|w|), v = mu·v + local·(g + decay·w), w -= rate·v.
// Excluded parameters, by default Vectors, have local 1 and no decay; so has a
// zero norm local 1. By default the rate is 1, trust 0.001, mu 0.9 and the decay
// 0.0005.
func NewLARS(opts ...Option) *Solver {
	return newSolver(algorithm{
		name:     "LARS",
		scratch:  true,
		keeps:    []string{"velocity"},
		takes:    []string{"WithMomentum", "WithNesterov", "WithTrust", "WithWeightDecay"},
		defaults: hyper{rate: 1, momentum: 0.9, trust: 0.001, decay: 5e-4, exclude: Vectors},
		update32: updateLARS[float32], update64: updateLARS[float64],
	}, opts)
}

// NewLAMB makes the solver of You et al. (2020) for large batches: with Adam's
// direction u = m/(√v+eps) + decay·w, w -= rate·u·|w|/|u|. Excluded parameters,
// by default Vectors, follow u as it is, without decay; so do those where a norm
// is zero. By default the rate is 0.001, beta1 0.9, beta2 0.999, eps 1e-6 and the
// decay 0.01.
func NewLAMB(opts ...Option) *Solver {
	return newSolver(algorithm{
		name:     "LAMB",
		scratch:  true,
		keeps:    []string{"mean", "square"},
		takes:    []string{"WithBeta1", "WithBeta2", "WithEps", "WithWeightDecay"},
		defaults: hyper{rate: 0.001, beta1: 0.9, beta2: 0.999, eps: 1e-6, decay: 0.01, exclude: Vectors},
		update32: updateLAMB[float32], update64: updateLAMB[float64],
	}, opts)
}

func updateSGD[T float](h *hyper, k *kernels[T], p part[T]) { k.sgd(p.w, p.g, newCoef(h, p)) }

func updateMomentum[T float](h *hyper, k *kernels[T], p part[T]) { byVelocity(h, k, p, newCoef(h, p)) }

func byVelocity[T float](h *hyper, k *kernels[T], p part[T], c coef[T]) {
	c.beta1 = T(h.momentum)
	if h.nesterov {
		k.nesterov(p.w, p.g, p.kept[0], c)
	} else {
		k.momentum(p.w, p.g, p.kept[0], c)
	}
}

func updateRMSProp[T float](h *hyper, k *kernels[T], p part[T]) {
	c := newCoef(h, p)
	c.beta2, c.new2, c.eps = T(h.rho), T(1-h.rho), above0[T](h.eps)
	k.rmsprop(p.w, p.g, p.kept[0], c)
}

func updateAdam[T float](h *hyper, k *kernels[T], p part[T]) {
	c := newCoef(h, p)
	c.setMeans(h, p.steps, p.rate)
	k.adam(p.w, p.g, p.kept[0], p.kept[1], c)
}

func updateLARS[T float](h *hyper, k *kernels[T], p part[T]) {
	c := newCoef(h, p)
	c.l2, c.keep = 0, 1
	if !p.excluded {
		if h.clip > 0 { // the norm is that of clipped elements
			prepare(p.scratch, p.g, c)
			p.g, p.scale = p.scratch, 1
		}
		local := 1.0
		w, g := math.Sqrt(k.squares(p.w)), float64(math.Sqrt(k.squares(p.g))*p.scale)
		if w > 0 && g > 0 {
			local = h.trust * w / (g + float64(h.decay*w))
		}
		c.scale, c.clip, c.l2 = finite[T](local*p.scale), T(math.Inf(1)), T(local*h.decay)
	}
	byVelocity(h, k, p, c)
}

func updateLAMB[T float](h *hyper, k *kernels[T], p part[T]) {
	c := newCoef(h, p)
	c.setMeans(h, p.steps, 1)
	c.keep = T(h.decay)
	if p.excluded {
		c.keep = 0
	}
	k.lamb(p.scratch, p.w, p.g, p.kept[0], p.kept[1], c)
	rate := p.rate
	if w, u := math.Sqrt(k.squares(p.w)), math.Sqrt(k.squares(p.scratch)); !p.excluded && w > 0 && u > 0 {
		rate *= w / u
	}
	k.sgd(p.w, p.scratch, coef[T]{scale: 1, clip: T(math.Inf(1)), rate: finite[T](rate), keep: 1})
}

// newCoef sets what all algorithms have in common.
func newCoef[T float](h *hyper, p part[T]) coef[T] {
	c := coef[T]{scale: T(p.scale), clip: T(math.Inf(1)), rate: T(p.rate), keep: 1}
	if h.clip > 0 {
		c.clip = T(h.clip)
	}
	if !p.excluded {
		c.l2, c.keep = T(h.l2), T(1-float64(p.rate*h.decay))
	}
	return c
}

// setMeans sets the part of Adam. Both means began at zero and are too small by
// 1-betaⁿ after n steps; that is made up for in rate and eps:
//
//	rate·(m/b1)/(√(v/b2)+eps) = (rate·√b2/b1)·m/(√v+eps·√b2)
func (c *coef[T]) setMeans(h *hyper, steps int, rate float64) {
	b1, b2 := 1-power(h.beta1, steps), math.Sqrt(1-power(h.beta2, steps))
	c.rate, c.eps = T(rate*b2/b1), above0[T](h.eps*b2)
	c.beta1, c.new1 = T(h.beta1), T(1-h.beta1)
	c.beta2, c.new2 = T(h.beta2), T(1-h.beta2)
}

// above0 keeps what is too small for its type from becoming 0, which no divisor
// may be.
func above0[T float](eps float64) T { return max(T(eps), math.SmallestNonzeroFloat32) }

// finite keeps a factor for what has all but vanished from becoming infinite: 0
// times that is no number.
func finite[T float](factor float64) T { return T(min(factor, math.MaxFloat32)) }
