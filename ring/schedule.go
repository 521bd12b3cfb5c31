package ring

// Reduce-scatter and all-gather are one schedule of 2(size-1) steps: the chunk
// received at step s is the one sent at step s+1. In the first size-1 steps
// what is received is merged, then it is copied. Chunk c is thus summed in one
// fixed chain, c+1, c+2, …, c (mod size), whoever runs it, and ends complete at
// rank c, its owner; the others copy the owner's bits.
//
// Each rank sends and receives 2(size-1)/size of the vector, which is optimal
// (Patarasuk and Yuan, "Bandwidth optimal all-reduce algorithms for clusters of
// workstations", 2009).

// Steps returns the number of steps of an all-reduce.
func Steps(size int) int { return 2 * (size - 1) }

// Reduces reports whether what is received at step s is merged, not copied.
func Reduces(size, s int) bool { return s < size-1 }

// SendChunk returns the chunk that rank sends to the next peer at step s.
func SendChunk(rank, size, s int) int {
	if s == 0 {
		return mod(rank-1, size)
	}
	return RecvChunk(rank, size, s-1)
}

// RecvChunk returns the chunk that rank receives from the previous peer at step s.
func RecvChunk(rank, size, s int) int { return mod(rank-2-s, size) }

// Chunk returns the bounds of chunk i when n elements are cut into size chunks:
// the first n%size chunks are one element longer.
func Chunk(n, size, i int) (lo, hi int) {
	q, r := n/size, n%size
	lo = i*q + min(i, r)
	hi = lo + q
	if i < r {
		hi++
	}
	return lo, hi
}

func mod(a, n int) int { return (a%n + n) % n }
