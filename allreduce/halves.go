package allreduce

import "context"

// ReduceScatter combines the x of all peers and leaves every rank with its part
// of the result, at its place in x. The rest of x then holds partial results.
// The lengths of the parts are by rank, alike on all peers; nil is the even cut
// of Part. With that, ReduceScatter and AllGather together make the bits of an
// AllReduce, but for lossy codecs: the part is not rounded to what its codec
// would make of it.
//
// It takes size-1 steps; a peer sends all parts but one. That is half of an
// all-reduce.
func (c *Comm) ReduceScatter(ctx context.Context, x Vector, op Op, parts []int) error {
	w, err := c.reduceScatter(x, op, parts)
	return c.runIf(ctx, w, err)
}

// StartReduceScatter begins what ReduceScatter does, as Start does for AllReduce.
func (c *Comm) StartReduceScatter(x Vector, op Op, parts []int) *Work {
	w, err := c.reduceScatter(x, op, parts)
	return c.startIf(w, err)
}

func (c *Comm) reduceScatter(x Vector, op Op, parts []int) (*Work, error) {
	if err := checkOp("reduce-scatter", x, op); err != nil {
		return nil, err
	}
	w, err := c.parted("reduce-scatter", reduceScatter, x, parts)
	if err == nil {
		w.op, w.codec = op, c.codecFor(x.typ)
	}
	return w, err
}

// AllGather fills x with the parts of all ranks, each of which gives its own at
// its place in x. The lengths of the parts are by rank, alike on all peers; nil
// is the even cut of Part. Gather does so for bytes of unknown lengths.
//
// It takes size-1 steps; a peer sends all parts but one, the next peer's. A
// codec is used only if it loses nothing.
func (c *Comm) AllGather(ctx context.Context, x Vector, parts []int) error {
	w, err := c.allGather(x, parts)
	return c.runIf(ctx, w, err)
}

// StartAllGather begins what AllGather does, as Start does for AllReduce.
func (c *Comm) StartAllGather(x Vector, parts []int) *Work {
	w, err := c.allGather(x, parts)
	return c.startIf(w, err)
}

func (c *Comm) allGather(x Vector, parts []int) (*Work, error) {
	w, err := c.parted("all-gather", allGather, x, parts)
	if err == nil && !c.codec.Lossy() {
		w.codec = c.codecFor(x.typ)
	}
	return w, err
}
