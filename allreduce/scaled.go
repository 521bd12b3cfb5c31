package allreduce

import (
	"context"
	"fmt"
	"math"
)

// Scale says by what the elements of a vector are multiplied, each time with
// one more rounding: the peer's own before they are combined with those of the
// others, and the result, where it is complete, after. After must be alike on
// all peers, Before need not be.
type Scale struct {
	Before, After float64
}

// AllReduceScaled is AllReduce of floats with factors; it costs what AllReduce
// does.
func (c *Comm) AllReduceScaled(ctx context.Context, x Vector, op Op, by Scale) error {
	w, err := c.scaled(x, op, by)
	if err != nil {
		return err
	}
	return c.run(ctx, w)
}

// StartScaled begins what AllReduceScaled does, as Start does for AllReduce.
func (c *Comm) StartScaled(x Vector, op Op, by Scale) *Work {
	w, err := c.scaled(x, op, by)
	if err != nil {
		return c.refuse(err)
	}
	return c.start(w)
}

func (c *Comm) scaled(x Vector, op Op, by Scale) (*Work, error) {
	if err := checkOp("all-reduce", x, op); err != nil {
		return nil, err
	}
	if x.typ.integral() {
		return nil, fmt.Errorf("%w: scale %v", ErrType, x.typ)
	}
	w := c.allReduce(x, op)
	w.scale = &by
	w.form = formOf([]int{int(math.Float64bits(by.After))})
	return w, nil
}

// WeightedMean replaces x by the mean of the x of all peers, each counted with
// its weight: the sum of weight·x over the sum of the weights. Weights must not
// be negative; where their sum is 0 or not finite all peers get ErrWeight and x
// is as before. It costs an all-reduce of 8 bytes and one of x.
func (c *Comm) WeightedMean(ctx context.Context, x Vector, weight float64) error {
	if err := checkType("mean of", x); err != nil {
		return err
	}
	if x.typ.integral() {
		return fmt.Errorf("%w: weighted mean of %v", ErrType, x.typ)
	}
	if weight < 0 {
		weight = math.NaN() // all must learn of it
	}
	total := []float64{weight}
	w := c.allReduce(Of(total), Sum)
	w.codec = nil // exact
	if err := c.run(ctx, w); err != nil {
		return err
	}
	if !(total[0] > 0) || math.IsInf(total[0], 0) {
		return fmt.Errorf("%w: their sum is %v", ErrWeight, total[0])
	}
	return c.AllReduceScaled(ctx, x, Sum, Scale{Before: weight / total[0], After: 1})
}

// merge combines what came from the previous peer with our elements. The last
// peer to do so, where the result is complete, also divides a mean.
func (w *Work) merge(mine, came Vector, final bool) {
	w.enter(mine)
	merge(w.op, mine, came)
	if final {
		w.leave(mine)
	}
}

// enter prepares elements of this peer that have not been combined with others.
func (w *Work) enter(x Vector) {
	if w.dividesEarly() {
		average(x, w.c.size)
	}
	if w.scale != nil && w.scale.Before != 1 {
		scale(x, w.scale.Before)
	}
}

// leave completes results.
func (w *Work) leave(x Vector) {
	if w.op == Mean && !w.dividesEarly() {
		average(x, w.c.size)
	}
	if w.scale != nil && w.scale.After != 1 {
		scale(x, w.scale.After)
	}
}

// dividesEarly reports that every peer divides what it contributes to a mean,
// because the sum may be out of the range of a lossy codec or of a small type.
func (w *Work) dividesEarly() bool {
	return w.op == Mean && (w.x.typ == Float16 || w.codec != nil && w.codec.Lossy())
}
