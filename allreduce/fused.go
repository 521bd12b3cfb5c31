package allreduce

import (
	"context"
	"fmt"
)

// AllReduceAll is AllReduce of many vectors of one type as if they were one. For
// small ones that is much faster: they cost the steps of one collective. They
// are copied together and back. Number and lengths must be alike on all peers.
//
// The chunks are those of the joint vector. The order in which an element is
// summed depends on its chunk, so that the bits may differ from those of an
// all-reduce of each vector alone; they are equal on all peers.
func (c *Comm) AllReduceAll(ctx context.Context, xs []Vector, op Op) error {
	w, err := c.fused(xs, op)
	return c.runIf(ctx, w, err)
}

// StartAll begins what AllReduceAll does, as Start does for AllReduce. The
// vectors are written to before the Work is done.
func (c *Comm) StartAll(xs []Vector, op Op) *Work {
	w, err := c.fused(xs, op)
	return c.startIf(w, err)
}

func (c *Comm) fused(xs []Vector, op Op) (*Work, error) {
	if len(xs) == 0 {
		return c.reduces(Of([]float32(nil)), op)
	}
	typ, n, lengths := xs[0].typ, 0, make([]int, len(xs))
	for i, x := range xs {
		if x.typ != typ {
			return nil, fmt.Errorf("%w: all-reduce of vectors of %v and %v in one", ErrType, typ, x.typ)
		}
		lengths[i] = x.len
		n += x.len
	}
	if err := checkOp("all-reduce", xs[0], op); err != nil {
		return nil, err
	}
	memory := c.buffers.get(n * typ.Size())
	w := c.allReduce(over(memory, typ, n), op)
	w.form = formOf(lengths)
	pack(memory, xs)
	w.after = func() {
		unpack(xs, memory)
		c.buffers.put(memory)
	}
	return w, nil
}

func pack(memory []byte, xs []Vector) {
	for _, x := range xs {
		memory = memory[copy(memory, x.Bytes()):]
	}
}

func unpack(xs []Vector, memory []byte) {
	for _, x := range xs {
		memory = memory[copy(x.Bytes(), memory):]
	}
}

// newVector returns n zeros in memory of their own.
func newVector(t Type, n int) Vector {
	words := make([]int64, (n*t.Size()+7)/8) // aligned for every type
	return over(Of(words).Bytes(), t, n)
}
