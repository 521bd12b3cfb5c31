package elastic

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func TestAssign(t *testing.T) {
	for _, tt := range []struct {
		positions, shard, peers int
		want                    []int // lengths
	}{
		{256, 32, 1, []int{256}},
		{256, 32, 4, []int{64, 64, 64, 64}},
		{256, 32, 7, []int{64, 32, 32, 32, 32, 32, 32}},
		{50, 32, 2, []int{32, 18}},
		{10, 32, 3, []int{10, 0, 0}},
		{0, 32, 2, []int{0, 0}},
	} {
		positions := make([]int, tt.positions)
		for i := range positions {
			positions[i] = i
		}
		hands := assign(positions, tt.shard, tt.peers)
		var got []int
		for _, h := range hands {
			got = append(got, len(h))
		}
		if !slices.Equal(got, tt.want) || !slices.Equal(slices.Concat(hands...), positions) {
			t.Errorf("assign(%d positions, %d, %d) deals %v, want %v", tt.positions, tt.shard, tt.peers, got, tt.want)
		}
	}
}

// Whatever subset of its batch each step consumes, every position of every epoch
// is consumed exactly once, and no batch is larger than it should be.
func TestLedgerConsumesEveryPositionOnce(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 0))
		s := Samples{Count: 1 + rng.IntN(300), Batch: 1 + rng.IntN(64), Shard: 1, Epochs: 3}
		l := &ledger{Samples: s}
		counts := make([]int, s.Count)
		epoch := 0
		for steps := uint64(0); !l.done(steps); steps++ {
			if steps > 100_000 {
				t.Fatalf("seed %d: no end after %d steps", seed, steps)
			}
			batch := l.batch()
			if len(batch) == 0 || len(batch) > s.Batch {
				t.Fatalf("seed %d: batch of %d positions, want 1…%d", seed, len(batch), s.Batch)
			}
			var consumed []int
			for _, p := range batch {
				if rng.IntN(4) > 0 {
					consumed = append(consumed, p)
					counts[p]++
				}
			}
			l.commit(consumed)
			if err := l.validate(); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			if l.Epoch != epoch {
				for p, n := range counts {
					if n != 1 {
						t.Fatalf("seed %d, epoch %d: position %d consumed %d times", seed, epoch, p, n)
					}
				}
				epoch = l.Epoch
				clear(counts)
			}
		}
		if l.Epoch != s.Epochs {
			t.Fatalf("seed %d: %d epochs, want %d", seed, l.Epoch, s.Epochs)
		}
	}
}

func TestLedgerGivesBackFirst(t *testing.T) {
	l := &ledger{Samples: Samples{Count: 10, Batch: 4, Shard: 2}}
	l.commit([]int{0, 1, 3}) // 2 was in the hand of a peer that died
	if got, want := l.batch(), []int{2, 4, 5, 6}; !slices.Equal(got, want) {
		t.Errorf("next batch %v, want %v", got, want)
	}
}
