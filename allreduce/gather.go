package allreduce

import (
	"context"
	"fmt"
	"slices"

	"github.com/ringrun/ringrun/ring"
)

// Gather returns, on every rank, the bytes that the peers have given, in rank
// order. The lengths may differ and need not be known; mine is not copied. It
// takes size-1 steps, and a peer sends all blobs but the next one's. AllGather
// does so for vectors of known lengths, GatherTo for one rank.
func (c *Comm) Gather(ctx context.Context, mine []byte) ([][]byte, error) {
	w := c.gathers(mine)
	if err := c.run(ctx, w); err != nil {
		return nil, err
	}
	return w.blobs, nil
}

// StartGather begins what Gather does. It does not wait for anything. The blobs
// are those of Gather when the Work is done and all went well; mine belongs to
// the Work until then.
func (c *Comm) StartGather(mine []byte) (w *Work, blobs [][]byte) {
	w = c.gathers(mine)
	return c.start(w), w.blobs
}

func (c *Comm) gathers(mine []byte) *Work {
	blobs := make([][]byte, c.size)
	blobs[c.rank] = mine
	return &Work{kind: gather, blobs: blobs, bytes: c.size * len(mine)}
}

// Barrier returns when all peers have called it. It takes size-1 steps and
// empty frames.
func (c *Comm) Barrier(ctx context.Context) error {
	return c.run(ctx, &Work{kind: barrier, blobs: make([][]byte, c.size)})
}

// collect is a gather or a barrier, on lane 0: at step s every peer sends on
// what came at step s-1, and first its own.
type collect struct {
	w    *Work
	l    *lane
	step int // of the frame to come
}

func (f *collect) open() segment {
	c := f.w.c
	mine := f.w.blobs[c.rank]
	s := segment{work: f.w, body: mine, count: len(mine), last: c.size == 2}
	return cutBody(s, f.w.frame, f.l.push)
}

// cutBody cuts a body into frames of at most most bytes, gives all but the last
// to push, and returns that.
func cutBody(s segment, most int, push func(segment)) segment {
	for len(s.body) > most {
		t := s
		t.body, t.last = s.body[:most], false
		push(t)
		s.body, s.lo = s.body[most:], s.lo+most
	}
	return s
}

func (f *collect) take(h ring.Header, b body) (bool, error) {
	c := f.w.c
	blob := &f.w.blobs[mod(c.rank-1-f.step, c.size)]
	at := len(*blob)
	if int(h.Step) != f.step || h.Offset != uint64(at) || uint64(at)+uint64(h.Length) > h.Count || h.Length == 0 && h.Count > 0 {
		return false, fmt.Errorf("%d of %d bytes at %d, want step %d at %d", h.Length, h.Count, h.Offset, f.step, at)
	}
	// Memory is taken for what has arrived, not for what is said to come.
	*blob = slices.Grow(*blob, int(h.Length))[:at+int(h.Length)]
	piece := (*blob)[at:]
	if err := b.fill(piece); err != nil {
		return false, err
	}
	whole := uint64(len(*blob)) == h.Count
	if f.step+1 < c.size-1 {
		last := whole && f.step+1 == c.size-2
		s := segment{work: f.w, step: f.step + 1, lo: at, body: piece, count: int(h.Count), last: last}
		f.l.forward(cutBody(s, f.w.frame, f.l.forward))
	}
	if whole {
		f.step++
	}
	return f.step == c.size-1, nil
}
