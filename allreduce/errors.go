package allreduce

import (
	"errors"
	"fmt"
)

// Errors of calls that make no sense, whatever the other peers do. Nothing has
// been sent and no number been taken for such a call: where all peers make it
// the Comm works on, where only one does the others wait for it, or disagree
// with what it does next.
var (
	// ErrRank reports a rank that is not in the ring, or one's own where
	// another is wanted.
	ErrRank = errors.New("allreduce: no such rank")
	// ErrParts reports parts that do not make up the vector.
	ErrParts = errors.New("allreduce: parts do not fit")
	// ErrType reports vectors of several types, an operation that the type does
	// not have, or a vector that was not made by Of.
	ErrType = errors.New("allreduce: wrong type")
	// ErrWeight reports weights whose sum is no positive number. All peers get
	// it alike.
	ErrWeight = errors.New("allreduce: weights do not add up")
)

// checkRank checks the rank of a peer.
func (c *Comm) checkRank(call string, rank int) error {
	if rank < 0 || rank >= c.size {
		return fmt.Errorf("%w: %s rank %d of %d", ErrRank, call, rank, c.size)
	}
	return nil
}

func checkType(call string, x Vector) error {
	if !x.typ.valid() {
		return fmt.Errorf("%w: %s a vector of %v", ErrType, call, x.typ)
	}
	return nil
}

func checkOp(call string, x Vector, op Op) error {
	if err := checkType(call, x); err != nil {
		return err
	}
	if !op.suits(x.typ) {
		return fmt.Errorf("%w: %s: the %v of %v", ErrType, call, op, x.typ)
	}
	return nil
}

// refuse returns a Work that has ended with an error.
func (c *Comm) refuse(err error) *Work {
	w := &Work{c: c, done: make(chan struct{})}
	w.end(err)
	return w
}
