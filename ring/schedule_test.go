package ring

import (
	"slices"
	"testing"
)

func TestChunk(t *testing.T) {
	for _, tt := range []struct{ n, size, i, lo, hi int }{
		{0, 1, 0, 0, 0},
		{0, 3, 2, 0, 0},
		{10, 1, 0, 0, 10},
		{10, 4, 0, 0, 3},
		{10, 4, 1, 3, 6},
		{10, 4, 2, 6, 8},
		{10, 4, 3, 8, 10},
		{2, 4, 1, 1, 2},
		{2, 4, 3, 2, 2},
		{8, 4, 3, 6, 8},
	} {
		if lo, hi := Chunk(tt.n, tt.size, tt.i); lo != tt.lo || hi != tt.hi {
			t.Errorf("Chunk(%d, %d, %d) = %d, %d; want %d, %d", tt.n, tt.size, tt.i, lo, hi, tt.lo, tt.hi)
		}
	}
}

func TestChunksCoverTheVector(t *testing.T) {
	for size := 1; size <= 17; size++ {
		for _, n := range []int{0, 1, size - 1, size, size + 1, 997, 100003} {
			end := 0
			for i := range size {
				lo, hi := Chunk(n, size, i)
				if lo != end || hi-lo < n/size || hi-lo > n/size+1 {
					t.Errorf("Chunk(%d, %d, %d) = %d, %d after one that ends at %d", n, size, i, lo, hi, end)
				}
				end = hi
			}
			if end != n {
				t.Errorf("the %d chunks of %d elements end at %d", size, n, end)
			}
		}
	}
}

func TestScheduleTable(t *testing.T) {
	// Three peers, by rank: the chunks sent and received at steps 0 to 3.
	send := [][]int{{2, 1, 0, 2}, {0, 2, 1, 0}, {1, 0, 2, 1}}
	recv := [][]int{{1, 0, 2, 1}, {2, 1, 0, 2}, {0, 2, 1, 0}}
	if got := Steps(3); got != 4 {
		t.Fatalf("Steps(3) = %d, want 4", got)
	}
	for rank := range 3 {
		for s := range 4 {
			if got := SendChunk(rank, 3, s); got != send[rank][s] {
				t.Errorf("SendChunk(%d, 3, %d) = %d, want %d", rank, s, got, send[rank][s])
			}
			if got := RecvChunk(rank, 3, s); got != recv[rank][s] {
				t.Errorf("RecvChunk(%d, 3, %d) = %d, want %d", rank, s, got, recv[rank][s])
			}
			if got, want := Reduces(3, s), s < 2; got != want {
				t.Errorf("Reduces(3, %d) = %v, want %v", s, got, want)
			}
		}
	}
}

// TestScheduleReduces runs the schedule with lists of ranks in the place of
// sums. At the end all ranks must hold, for each chunk, the same list: the
// chain that begins behind its owner.
func TestScheduleReduces(t *testing.T) {
	for size := 1; size <= 16; size++ {
		have := make([][][]int, size) // by rank and chunk
		for r := range have {
			for range size {
				have[r] = append(have[r], []int{r})
			}
		}
		for s := range Steps(size) {
			sent := make([][]int, size)
			for r := range size {
				sent[r] = have[r][SendChunk(r, size, s)]
			}
			for r := range size {
				prev, c := mod(r-1, size), RecvChunk(r, size, s)
				if SendChunk(prev, size, s) != c {
					t.Fatalf("size %d, step %d: rank %d sends chunk %d, rank %d expects %d",
						size, s, prev, SendChunk(prev, size, s), r, c)
				}
				if got := sent[prev]; Reduces(size, s) {
					have[r][c] = slices.Concat(got, have[r][c])
				} else {
					have[r][c] = got
				}
			}
		}
		for r := range size {
			for c := range size {
				var want []int
				for k := range size {
					want = append(want, mod(c+1+k, size))
				}
				if !slices.Equal(have[r][c], want) {
					t.Errorf("size %d: rank %d has summed chunk %d as %v, want %v", size, r, c, have[r][c], want)
				}
			}
		}
	}
}
