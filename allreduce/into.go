package allreduce

import (
	"encoding/binary"
	"fmt"
)

// StartInto begins an all-reduce of from, of floats, that leaves from as it is and
// puts the result, times by, into x. They are of one type and length, and are the
// same vector or do not overlap; both belong to the Work until it is done. With
// by == 1 the bits are those of an all-reduce of a copy, elsewhere it is one of
// Scale.After, but through a lossy codec one of Scale.Before.
//
// Where peers share memory, and both vectors are in it, that costs less than a
// copy and an all-reduce.
func (c *Comm) StartInto(x, from Vector, op Op, by float64) *Work {
	if x.typ != from.typ || x.len != from.len {
		return c.refuse(fmt.Errorf("%w: all-reduce of %d %v into %d %v", ErrType, from.len, from.typ, x.len, x.typ))
	}
	scale := Scale{Before: 1, After: by}
	if k := c.codecFor(x.typ); k != nil && k.Lossy() {
		scale = Scale{Before: by, After: 1}
	}
	w, err := c.scaled(x, op, scale)
	switch {
	case err != nil:
		return c.refuse(err)
	case from.at == x.at:
	case c.size > 1 && c.board.takes(w):
		w.from = from
	default:
		copy(x.Bytes(), from.Bytes())
	}
	return c.start(w)
}

// source returns what this peer contributes.
func (w *Work) source() Vector {
	if w.from.len > 0 {
		return w.from
	}
	return w.x
}

// inPlace makes the vector where the result goes the one that is reduced.
func (w *Work) inPlace() {
	if w.from.len > 0 {
		copy(w.x.Bytes(), w.from.Bytes())
		w.from = Vector{}
	}
}

// A post of a large vector also says where its result is.
func (p *post) setResult(place uint64) { binary.LittleEndian.PutUint64(p.words[:8], place) }

func (p *post) result() uint64 { return binary.LittleEndian.Uint64(p.words[:8]) }
