package allreduce_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/ringrun/ringrun/ring"
	"github.com/ringrun/ringrun/ring/shm"
)

// A wait is that of a rank for a word of another one.
type wait struct{ self, rank int }

// An attentive transport has boards that say who waits for whom, again and again
// while the wait lasts, to whoever listens.
type attentive struct {
	*shm.Transport
	waits chan<- wait
}

type attentiveBoard struct {
	ring.Board
	self  int
	waits chan<- wait
}

// Share implements ring.Sharer.
func (a attentive) Share(ctx context.Context, peers []string, at ring.Edge) (ring.Board, error) {
	b, err := a.Transport.Share(ctx, peers, at)
	if err != nil {
		return nil, err
	}
	return attentiveBoard{b, slices.Index(peers, at.Self), a.waits}, nil
}

// Await implements ring.Board.
func (b attentiveBoard) Await(rank, at int, value uint64, quit func() error) (uint64, error) {
	return b.Board.Await(rank, at, value, func() error {
		select {
		case b.waits <- wait{b.self, rank}:
		default:
		}
		return quit()
	})
}

// allWait returns when n others have been seen to wait for a rank.
func allWait(t *testing.T, waits <-chan wait, n, rank int) {
	t.Helper()
	late := time.After(time.Minute)
	for seen := map[int]bool{}; len(seen) < n; {
		select {
		case w := <-waits:
			if w.rank == rank {
				seen[w.self] = true
			}
		case <-late:
			t.Fatalf("only %v wait for rank %d", seen, rank)
		}
	}
}
