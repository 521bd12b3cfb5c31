package bench

import (
	"context"
	"fmt"

	"github.com/ringrun/ringrun/allreduce"
	"github.com/ringrun/ringrun/ring"
)

// A collective is what a Sweep may time. The size of a measurement is that of
// the whole vector, as in nccl-tests.
type collective struct {
	name    string
	reduces bool                   // there is an operation
	twice   bool                   // the buffer holds two vectors
	alike   bool                   // all peers end with the same vector
	bus     func(size int) float64 // busbw over algbw
	run     func(s *sweep, ctx context.Context, n int) error
	// where returns the elements of the buffer that must be right afterwards,
	// and want one of them.
	where func(s *sweep, n int) (lo, hi int)
	want  func(s *sweep, n, i int) (want, scale float64)
}

// Collectives names what a Sweep can time.
func Collectives() (names []string) {
	for _, c := range collectives {
		names = append(names, c.name)
	}
	return names
}

func findCollective(name string) (collective, error) {
	for _, c := range collectives {
		if c.name == name {
			return c, nil
		}
	}
	return collective{}, fmt.Errorf("bench: no collective %q; there are %q", name, Collectives())
}

// collectives has all that a Sweep can time.
var collectives = append([]collective{
	{
		name: "allreduce", reduces: true, alike: true, bus: BusFactor, where: whole, want: reducedElement,
		run: func(s *sweep, ctx context.Context, n int) error {
			if s.Algorithm != allreduce.Auto {
				return s.c.AllReduceBy(ctx, s.Algorithm, s.buf.vector(n), s.Op)
			}
			return s.c.AllReduce(ctx, s.buf.vector(n), s.Op)
		},
	}, {
		name: "reducescatter", reduces: true, bus: halfFactor, want: reducedElement,
		where: func(s *sweep, n int) (lo, hi int) { return ring.Chunk(n, s.c.Size(), s.c.Rank()) },
		run: func(s *sweep, ctx context.Context, n int) error {
			return s.c.ReduceScatter(ctx, s.buf.vector(n), s.Op, nil)
		},
	}, {
		name: "allgather", alike: true, bus: halfFactor, where: whole,
		want: func(s *sweep, n, i int) (want, scale float64) {
			for rank := range s.c.Size() {
				if lo, hi := ring.Chunk(n, s.c.Size(), rank); lo <= i && i < hi {
					return s.operand(rank, i)
				}
			}
			panic(fmt.Sprintf("bench: element %d of %d", i, n))
		},
		run: func(s *sweep, ctx context.Context, n int) error {
			return s.c.AllGather(ctx, s.buf.vector(n), nil)
		},
	}, {
		name: "broadcast", alike: true, bus: func(int) float64 { return 1 }, where: whole,
		want: func(s *sweep, _, i int) (want, scale float64) { return s.operand(0, i) },
		run: func(s *sweep, ctx context.Context, n int) error {
			return s.c.Broadcast(ctx, s.buf.vector(n), 0)
		},
	}, {
		// Blocks are of n/size elements, rounded down. They go from the first n
		// elements of the buffer to the second.
		name: "alltoall", twice: true, bus: halfFactor,
		where: func(s *sweep, n int) (lo, hi int) { return n, n + n/s.c.Size()*s.c.Size() },
		want: func(s *sweep, n, i int) (want, scale float64) {
			block := n / s.c.Size()
			return s.operand((i-n)/block, s.c.Rank()*block+(i-n)%block)
		},
		run: func(s *sweep, ctx context.Context, n int) error {
			size, both := s.c.Size(), s.buf.vector(2*n)
			dst, src := make([]allreduce.Vector, size), make([]allreduce.Vector, size)
			for peer := range size {
				lo, hi := peer*(n/size), (peer+1)*(n/size)
				src[peer], dst[peer] = both.Slice(lo, hi), both.Slice(n+lo, n+hi)
			}
			return s.c.AllToAll(ctx, dst, src)
		},
	},
}, otherCollectives...)

func whole(_ *sweep, n int) (lo, hi int) { return 0, n }

// halfFactor is BusFactor for what sends half as much as an all-reduce.
func halfFactor(size int) float64 { return BusFactor(size) / 2 }

func reducedElement(s *sweep, _, i int) (want, scale float64) {
	return expected(s.Type, s.Op, s.c.Size(), i)
}

// operand returns element i of what a rank gives.
func (s *sweep) operand(rank, i int) (want, scale float64) {
	x := operand(s.Type, s.Op, rank, s.c.Size(), i)
	return x, max(x, -x)
}
