package allreduce

import "context"

// Broadcast replaces x by the x of the peer of rank root. It may return before
// the others have it.
//
// The vector runs down the ring in frames: size-1 steps, and every peer but the
// last sends it once. Where peers share memory they copy it from the root's. It is
// never encoded.
func (c *Comm) Broadcast(ctx context.Context, x Vector, root int) error {
	w, err := c.rooted("broadcast from", broadcast, x, nil, root)
	return c.runIf(ctx, w, err)
}

// StartBroadcast begins what Broadcast does, as Start does for AllReduce.
func (c *Comm) StartBroadcast(x Vector, root int) *Work {
	w, err := c.rooted("broadcast from", broadcast, x, nil, root)
	return c.startIf(w, err)
}

// Reduce replaces the x of rank root by the combination of the x of all peers,
// in the order root+1, root+2, …, root. The x of the others then holds partial
// results. It may return before the root has the result.
//
// Partial results run down the ring in frames: size-1 steps, and every peer but
// the root sends x once, which is less than the 2(size-1)/size of an AllReduce
// when size is above 2. With a codec every peer on the way rounds.
func (c *Comm) Reduce(ctx context.Context, x Vector, op Op, root int) error {
	w, err := c.reduce(x, op, root)
	return c.runIf(ctx, w, err)
}

// StartReduce begins what Reduce does, as Start does for AllReduce.
func (c *Comm) StartReduce(x Vector, op Op, root int) *Work {
	w, err := c.reduce(x, op, root)
	return c.startIf(w, err)
}

func (c *Comm) reduce(x Vector, op Op, root int) (*Work, error) {
	if err := checkOp("reduce", x, op); err != nil {
		return nil, err
	}
	w, err := c.rooted("reduce to", reduceTo, x, nil, root)
	if err == nil {
		w.op, w.codec = op, c.codecFor(x.typ)
	}
	return w, err
}

// Scatter gives every rank its part of the x of rank root, at its place in x. A
// peer's x must have room for the whole: what passes through is kept in it, so
// the parts of ranks that are further from the root are overwritten, too. The
// lengths of the parts are by rank; nil is the even cut of Part.
//
// It takes size-1 steps. The root sends all parts but its own, the furthest
// first; the k-th peer after it sends size-1-k of them. They are never encoded.
func (c *Comm) Scatter(ctx context.Context, x Vector, parts []int, root int) error {
	w, err := c.rooted("scatter from", scatter, x, parts, root)
	return c.runIf(ctx, w, err)
}

// StartScatter begins what Scatter does, as Start does for AllReduce.
func (c *Comm) StartScatter(x Vector, parts []int, root int) *Work {
	w, err := c.rooted("scatter from", scatter, x, parts, root)
	return c.startIf(w, err)
}

// GatherTo is the inverse of Scatter: it fills the x of rank root with the parts
// of all ranks. The parts of a peer's x that are on its way from others to the
// root are overwritten, too. It may return before the root has everything.
//
// It takes size-1 steps; the k-th peer after the root sends k parts. They are
// never encoded.
func (c *Comm) GatherTo(ctx context.Context, x Vector, parts []int, root int) error {
	w, err := c.rooted("gather to", gatherTo, x, parts, root)
	return c.runIf(ctx, w, err)
}

// StartGatherTo begins what GatherTo does, as Start does for AllReduce.
func (c *Comm) StartGatherTo(x Vector, parts []int, root int) *Work {
	w, err := c.rooted("gather to", gatherTo, x, parts, root)
	return c.startIf(w, err)
}

func (c *Comm) rooted(call string, kind Op, x Vector, parts []int, root int) (*Work, error) {
	if err := c.checkRank(call, root); err != nil {
		return nil, err
	}
	w, err := c.parted(call, kind, x, parts)
	if err == nil {
		w.root = root
	}
	return w, err
}

// parted returns the work of a kind that has parts.
func (c *Comm) parted(call string, kind Op, x Vector, parts []int) (*Work, error) {
	if err := checkType(call, x); err != nil {
		return nil, err
	}
	k, err := newCut(x.len, c.size, parts)
	if err != nil {
		return nil, err
	}
	return &Work{kind: kind, x: x, cut: k, form: k.form(), bytes: len(x.Bytes())}, nil
}

func (c *Comm) runIf(ctx context.Context, w *Work, err error) error {
	if err != nil {
		return err
	}
	return c.run(ctx, w)
}

func (c *Comm) startIf(w *Work, err error) *Work {
	if err != nil {
		return c.refuse(err)
	}
	return c.start(w)
}
