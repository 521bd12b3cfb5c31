package allreduce

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// Algorithm is a way to all-reduce. All but TwoLevel make the same bits.
type Algorithm uint8

const (
	// Auto is what promises to be the fastest; see Comm.Tune.
	Auto Algorithm = iota
	// Ring cuts the vector into one chunk for each peer; see relay.go.
	Ring
	// Exchange passes all vectors round whole; see exchange.go.
	Exchange
	// Dissemination passes all vectors whole over the chords of the ring; see
	// dissemination.go. It needs ring.Config.Chords, and three peers.
	Dissemination
	// Shared reads what others have from their memory; see board. It needs peers
	// that share that of one host, and then it is what Auto takes for all vectors
	// without a codec.
	Shared
	// TwoLevel reduces within each host first; see levels.go. It needs
	// Comm.ByHosts, and is the only one whose bits differ from the ring's.
	TwoLevel
)

// algorithms is how many there are, but for Auto.
const algorithms = int(TwoLevel)

var algorithmNames = [...]string{"auto", "ring", "exchange", "dissemination", "shared", "two-level"}

// String returns the name in lower case.
func (a Algorithm) String() string {
	if int(a) >= len(algorithmNames) {
		return fmt.Sprintf("algorithm %d", uint8(a))
	}
	return algorithmNames[a]
}

// ParseAlgorithm is the inverse of String.
func ParseAlgorithm(name string) (Algorithm, error) {
	if i := slices.Index(algorithmNames[:], name); i >= 0 {
		return Algorithm(i), nil
	}
	return 0, fmt.Errorf("%w: %q, there are %q", ErrAlgorithm, name, algorithmNames)
}

// ErrAlgorithm reports an algorithm that the ring, or the codec, does not allow.
var ErrAlgorithm = errors.New("allreduce: no such algorithm here")

// whole reports whether vectors travel whole, and every peer combines them.
func (a Algorithm) whole() bool { return a == Exchange || a == Dissemination }

// Algorithms returns those that the ring allows, Ring first; none in a ring of
// one. With a codec there are only Ring and TwoLevel, for the types that the codec
// takes.
func (c *Comm) Algorithms() []Algorithm {
	if c.size == 1 {
		return nil
	}
	all := []Algorithm{Ring, Exchange}
	if c.hasChords() {
		all = append(all, Dissemination)
	}
	if c.board != nil {
		all = append(all, Shared)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.levels != nil {
		all = append(all, TwoLevel)
	}
	return all
}

func (c *Comm) hasChords() bool { return c.size > 2 && len(c.lanes) > c.width }

// Choice returns the algorithm that AllReduce takes for x.
func (c *Comm) Choice(x Vector) Algorithm {
	if c.size == 1 {
		return Auto
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.auto(c.allReduce(x, Sum))
}

// AllReduceBy is AllReduce by an algorithm of the caller's choice, which must be
// alike on all peers.
func (c *Comm) AllReduceBy(ctx context.Context, a Algorithm, x Vector, op Op) error {
	w, err := c.reduces(x, op)
	if err == nil && a != Auto && c.size > 1 {
		err = c.by(a, w)
	}
	return c.runIf(ctx, w, err)
}

func (c *Comm) by(a Algorithm, w *Work) error {
	if !slices.Contains(c.Algorithms(), a) {
		return fmt.Errorf("%w: %v among %d peers with %d chords", ErrAlgorithm, a, c.size, len(c.ring.Chords()))
	}
	if a != Ring && a != TwoLevel && w.codec != nil {
		return fmt.Errorf("%w: %v with codec %s", ErrAlgorithm, a, w.codec.Name())
	}
	w.algorithm, w.form = a, formOf([]int{int(a)})
	return nil
}

// choose settles by which algorithm a work is done. It depends on nothing that
// could differ between peers, but on what Tune has measured, which is alike since
// the same number. It is called with c.mu held.
func (c *Comm) choose(w *Work) {
	switch {
	case c.size == 1 || w.algorithm != Auto:
	case w.kind == allReduce:
		w.algorithm = c.auto(w)
	case w.kind == barrier && c.hasChords():
		w.algorithm = Dissemination
	}
}

// exchangePair is the largest vector that two peers exchange, in bytes, when
// nothing was measured. They send no more than in a relay, and only give up that
// the sum of one half overlaps with the sending of the other. Among more peers
// Config.SmallBytes says.
const exchangePair = 32 << 10

// candidates returns the algorithms among which Auto chooses where peers do not
// share memory. It is called with c.mu held.
func (c *Comm) candidates() []Algorithm {
	all := []Algorithm{Ring, Exchange}
	if c.hasChords() {
		all = append(all, Dissemination)
	}
	if c.levels != nil {
		all = append(all, TwoLevel)
	}
	return all
}

// auto chooses for an all-reduce. It is called with c.mu held.
func (c *Comm) auto(w *Work) Algorithm {
	small := c.small
	if c.size == 2 {
		small = exchangePair
	}
	all := c.candidates()
	switch {
	case c.board != nil && w.codec == nil:
		return Shared
	case c.size == 2 && w.bytes <= shortBytes && w.codec == nil:
		return Exchange // no more bytes, and one step less: whatever was measured
	case c.costs != nil && w.codec == nil:
		return c.costs.cheapest(all, c.size, w.bytes)
	case w.bytes <= small && w.codec == nil && c.hasChords():
		return Dissemination
	case w.bytes <= small && w.codec == nil:
		return Exchange
	case c.levels != nil && w.bytes > levelsBytes:
		return TwoLevel
	}
	return Ring
}
