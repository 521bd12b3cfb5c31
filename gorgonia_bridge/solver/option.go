package solver

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"slices"
	"strings"

	"gorgonia.org/tensor"
)

// hyper is what the options set.
type hyper struct {
	rate, momentum, beta1, beta2, rho, eps, trust float64

	l2, decay  float64 // coupled and decoupled weight decay
	clip, norm float64 // of elements and of the whole gradient; 0: none
	batch      float64
	nesterov   bool
	maxSkipped int
	schedule   Schedule       // nil: rate
	times      func() float64 // nil: once; see WithBatchScale
	warmup     int            // steps
	exclude    func(name string, shape tensor.Shape) bool
}

// An Option changes a hyperparameter of a solver. One that the solver does not
// have, or a value that makes no sense, is an error of every Step.
type Option struct {
	name string
	set  func(*hyper) error
}

func number(name string, x float64, in func(x float64) bool, want string, at func(*hyper) *float64) Option {
	return Option{name, func(h *hyper) error {
		if !in(x) { // also if it is NaN
			return fmt.Errorf("solver: %s is %v, want %s", name, x, want)
		}
		*at(h) = x
		return nil
	}}
}

func notNegative(x float64) bool { return x >= 0 && x <= math.MaxFloat64 }
func positive(x float64) bool    { return x > 0 && x <= math.MaxFloat64 }
func decayFactor(x float64) bool { return x >= 0 && x < 1 }

// WithLearnRate sets a constant learning rate.
func WithLearnRate(rate float64) Option {
	return number("WithLearnRate", rate, notNegative, "a number from 0", func(h *hyper) *float64 {
		h.schedule = nil
		return &h.rate
	})
}

// WithSchedule sets a learning rate that changes. Steps that are skipped do not
// count.
func WithSchedule(s Schedule) Option {
	return Option{"WithSchedule", func(h *hyper) error {
		if h.schedule = s; s == nil {
			return errors.New("solver: WithSchedule is nil")
		}
		return nil
	}}
}

// WithBatchScale multiplies the rate by what times returns in each step: how many
// times the batch is as large as the one that the rate is for, say. In the first
// warmup steps the factor grows from 1 to that, as in LinearScaling. times must
// return the same on all peers, as elastic's Group.LearningRateScale does, which
// follows the peers that come and go where the batch does.
func WithBatchScale(times func() float64, warmup int) Option {
	return Option{"WithBatchScale", func(h *hyper) error {
		if h.times, h.warmup = times, warmup; times == nil || warmup < 0 {
			return fmt.Errorf("solver: WithBatchScale with a function (%t) and %d steps", times != nil, warmup)
		}
		return nil
	}}
}

// WithMomentum sets which part of its velocity is left after a step.
func WithMomentum(mu float64) Option {
	return number("WithMomentum", mu, decayFactor, "0 ≤ x < 1", func(h *hyper) *float64 { return &h.momentum })
}

// WithNesterov looks one step of the velocity ahead.
func WithNesterov() Option {
	return Option{"WithNesterov", func(h *hyper) error { h.nesterov = true; return nil }}
}

// WithBeta1 sets which part of the mean of gradients is left after a step.
func WithBeta1(beta float64) Option {
	return number("WithBeta1", beta, decayFactor, "0 ≤ x < 1", func(h *hyper) *float64 { return &h.beta1 })
}

// WithBeta2 sets which part of the mean square of gradients is left after a step.
func WithBeta2(beta float64) Option {
	return number("WithBeta2", beta, decayFactor, "0 ≤ x < 1", func(h *hyper) *float64 { return &h.beta2 })
}

// WithRho sets which part of the mean square of gradients is left after a step.
func WithRho(rho float64) Option {
	return number("WithRho", rho, decayFactor, "0 ≤ x < 1", func(h *hyper) *float64 { return &h.rho })
}

// WithEps sets what keeps divisors away from zero.
func WithEps(eps float64) Option {
	return number("WithEps", eps, positive, "a number above 0", func(h *hyper) *float64 { return &h.eps })
}

// WithTrust sets how far, compared with its norm, a parameter moves in a step of
// rate 1.
func WithTrust(eta float64) Option {
	return number("WithTrust", eta, positive, "a number above 0", func(h *hyper) *float64 { return &h.trust })
}

// WithL2Reg adds a multiple of the weight to the gradient, after clipping and
// whatever the batch size. Adaptive solvers then scale it as they do gradients;
// that is what WithWeightDecay avoids.
func WithL2Reg(l2 float64) Option {
	return number("WithL2Reg", l2, notNegative, "a number from 0", func(h *hyper) *float64 { return &h.l2 })
}

// WithWeightDecay shrinks the weights in each step by this part times the
// learning rate, apart from what the gradient does. LARS and LAMB make it a part
// of the direction, before that is scaled to the norm of the weights.
func WithWeightDecay(decay float64) Option {
	return number("WithWeightDecay", decay, notNegative, "a number from 0", func(h *hyper) *float64 { return &h.decay })
}

// WithExclude sets which parameters have no weight decay of either kind, and no
// rate of their own in LARS and LAMB. The predicate is asked once for each.
func WithExclude(excluded func(name string, shape tensor.Shape) bool) Option {
	return Option{"WithExclude", func(h *hyper) error {
		if h.exclude = excluded; excluded == nil {
			return errors.New("solver: WithExclude is nil")
		}
		return nil
	}}
}

// Vectors is a predicate for WithExclude: scalars, and what has one dimension
// larger than 1 at most. That is biases and the parameters of normalisation.
func Vectors(_ string, shape tensor.Shape) bool {
	wide := 0
	for _, n := range shape {
		if n > 1 {
			wide++
		}
	}
	return wide <= 1
}

func none(string, tensor.Shape) bool { return false }

// WithClip limits every element of the gradient to ±limit.
func WithClip(limit float64) Option {
	return number("WithClip", limit, positive, "a number above 0", func(h *hyper) *float64 { return &h.clip })
}

// WithClipNorm scales the gradient, all parameters together, so that its norm
// is at most this. It comes before WithClip.
func WithClipNorm(norm float64) Option {
	return number("WithClipNorm", norm, positive, "a number above 0", func(h *hyper) *float64 { return &h.norm })
}

// WithBatchSize divides the gradient by the samples in a batch: for a loss that
// is their sum, not their mean. It comes before clipping.
func WithBatchSize(samples float64) Option {
	in := func(x float64) bool { return x >= 1 && x <= math.MaxFloat64 }
	return number("WithBatchSize", samples, in, "a number from 1", func(h *hyper) *float64 { return &h.batch })
}

// WithMaxSkipped sets how many steps in a row may be skipped because the
// gradient is not finite; the next one is an error. The default is 10.
func WithMaxSkipped(steps int) Option {
	return Option{"WithMaxSkipped", func(h *hyper) error {
		if h.maxSkipped = steps; steps < 0 {
			return fmt.Errorf("solver: WithMaxSkipped is %d, want a number from 0", steps)
		}
		return nil
	}}
}

// common are the options that all solvers have.
var common = []string{"WithLearnRate", "WithSchedule", "WithBatchScale", "WithExclude", "WithClip", "WithClipNorm", "WithBatchSize", "WithMaxSkipped"}

// with applies the options of a solver of this name.
func (h *hyper) with(solver string, takes []string, opts []Option) error {
	for _, o := range opts {
		if o.set == nil {
			return fmt.Errorf("solver: an empty option for %s", solver)
		}
		if !slices.Contains(common, o.name) && !slices.Contains(takes, o.name) {
			return fmt.Errorf("solver: %s has no option %s", solver, o.name)
		}
		if err := o.set(h); err != nil {
			return err
		}
	}
	return nil
}

// rateAt returns the learning rate of a step.
func (h *hyper) rateAt(step int) (float64, error) {
	rate := h.rate
	if h.schedule != nil {
		rate = h.schedule(step)
	}
	if !notNegative(rate) {
		return 0, fmt.Errorf("solver: the schedule gives a learning rate of %v for step %d", rate, step)
	}
	if h.times == nil {
		return rate, nil
	}
	times := h.times()
	if !positive(times) {
		return 0, fmt.Errorf("solver: the batch of step %d is %v times the usual", step, times)
	}
	if step < h.warmup {
		times = 1 + float64((times-1)*float64(step))/float64(h.warmup)
	}
	return rate * times, nil
}

// String lists what differs from zero. A schedule shows as its first rate and a
// checksum of what it gives for steps 0, 1, 2, 4, …
func (h *hyper) String() string {
	var parts []string
	for _, f := range []struct {
		name string
		x    float64
	}{
		{"momentum", h.momentum}, {"beta1", h.beta1}, {"beta2", h.beta2}, {"rho", h.rho}, {"eps", h.eps}, {"trust", h.trust},
		{"l2", h.l2}, {"weight decay", h.decay}, {"clip", h.clip}, {"clip norm", h.norm}, {"batch size", h.batch}, {"max skipped", float64(h.maxSkipped)},
	} {
		if f.x != 0 {
			parts = append(parts, fmt.Sprintf("%s %v", f.name, f.x))
		}
	}
	if h.nesterov {
		parts = append(parts, "nesterov")
	}
	if h.schedule == nil {
		parts = append(parts, fmt.Sprintf("rate %v", h.rate))
	} else {
		parts = append(parts, fmt.Sprintf("rate from %v, schedule %08x", h.schedule(0), h.scheduleSum()))
	}
	if h.times != nil {
		parts = append(parts, fmt.Sprintf("times the batch, %d steps of warm-up", h.warmup))
	}
	return strings.Join(parts, ", ")
}

func (h *hyper) scheduleSum() uint32 {
	b := binary.LittleEndian.AppendUint64(nil, math.Float64bits(h.schedule(0)))
	for i := range 25 {
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(h.schedule(1<<i)))
	}
	return crc32.Checksum(b, castagnoli)
}
