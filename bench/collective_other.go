package bench

import (
	"context"
	"errors"

	"github.com/ringrun/ringrun/allreduce"
	"github.com/ringrun/ringrun/ring"
)

// otherCollectives are those for which other benchmarks have no standard, or
// which end with a result on some ranks only. The root is rank 0.
var otherCollectives = []collective{
	{
		name: "reduce", reduces: true, bus: one, where: atRoot, want: reducedElement,
		run: func(s *sweep, ctx context.Context, n int) error {
			return s.c.Reduce(ctx, s.buf.vector(n), s.Op, 0)
		},
	}, {
		name: "scatter", bus: halfFactor,
		where: func(s *sweep, n int) (lo, hi int) { return ring.Chunk(n, s.c.Size(), s.c.Rank()) },
		want:  func(s *sweep, _, i int) (want, scale float64) { return s.operand(0, i) },
		run: func(s *sweep, ctx context.Context, n int) error {
			return s.c.Scatter(ctx, s.buf.vector(n), nil, 0)
		},
	}, {
		name: "gather", bus: halfFactor, where: atRoot,
		want: func(s *sweep, n, i int) (want, scale float64) {
			return s.operand(owner(ragged(n, s.c.Size(), false), i), i)
		},
		run: func(s *sweep, ctx context.Context, n int) error {
			return s.c.GatherTo(ctx, s.buf.vector(n), nil, 0)
		},
	}, {
		// The part of rank r is r+1 times as long as that of rank 0.
		name: "allgatherv", alike: true, bus: halfFactor, where: whole,
		want: func(s *sweep, n, i int) (want, scale float64) {
			return s.operand(owner(ragged(n, s.c.Size(), true), i), i)
		},
		run: func(s *sweep, ctx context.Context, n int) error {
			return s.c.AllGather(ctx, s.buf.vector(n), ragged(n, s.c.Size(), true))
		},
	}, {
		// All peers send to the next one, from the first half of the buffer, and
		// receive into the second.
		name: "sendrecv", twice: true, bus: one,
		where: func(s *sweep, n int) (lo, hi int) {
			if s.c.Size() == 1 {
				return 0, 0
			}
			return n, 2 * n
		},
		want: func(s *sweep, n, i int) (want, scale float64) {
			return s.operand((s.c.Rank()+s.c.Size()-1)%s.c.Size(), i-n)
		},
		run: func(s *sweep, ctx context.Context, n int) error {
			size, rank, both := s.c.Size(), s.c.Rank(), s.buf.vector(2*n)
			if size == 1 {
				return nil
			}
			sent := s.c.StartSend(both.Slice(0, n), (rank+1)%size)
			came := s.c.StartRecv(both.Slice(n, 2*n), (rank+size-1)%size)
			return errors.Join(sent.Wait(ctx), came.Wait(ctx))
		},
	}, {
		// So many tensors, in one all-reduce.
		name: "fused", reduces: true, alike: true, bus: BusFactor, where: whole, want: reducedElement,
		run: func(s *sweep, ctx context.Context, n int) error {
			x, xs := s.buf.vector(n), make([]allreduce.Vector, fusedTensors)
			for i := range xs {
				xs[i] = x.Slice(ring.Chunk(n, fusedTensors, i))
			}
			return s.c.AllReduceAll(ctx, xs, s.Op)
		},
	}, {
		// It has no vector, whatever size is asked for.
		name: "barrier", bus: func(int) float64 { return 0 },
		where: func(*sweep, int) (lo, hi int) { return 0, 0 },
		run:   func(s *sweep, ctx context.Context, _ int) error { return s.c.Barrier(ctx) },
	},
}

const fusedTensors = 64

func one(int) float64 { return 1 }

func atRoot(s *sweep, n int) (lo, hi int) {
	if s.c.Rank() != 0 {
		return 0, 0
	}
	return 0, n
}

// ragged returns the lengths of parts: even, or growing with the rank.
func ragged(n, size int, grows bool) []int {
	parts, at := make([]int, size), 0
	for rank := range size {
		end := n * (rank + 1) * (rank + 2) / (size * (size + 1))
		if !grows {
			_, end = ring.Chunk(n, size, rank)
		}
		parts[rank], at = end-at, end
	}
	return parts
}

// owner returns the rank in whose part an element lies.
func owner(parts []int, i int) int {
	for rank, n := range parts {
		if i -= n; i < 0 {
			return rank
		}
	}
	return len(parts) - 1
}
