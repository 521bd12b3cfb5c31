package elastic

import "math/bits"

// An order is the random order in which one epoch visits the samples: a
// permutation of 0…n-1 that costs no memory and depends on nothing but its key,
// so that every peer sees the same one whatever the size of the group.
//
// It is a Feistel network over the smallest even number of bits that covers n;
// values outside are walked through it again until they fall inside (Black and
// Rogaway, "Ciphers with arbitrary finite domains", 2002).
type order struct {
	n    uint64
	half uint // bits in each half
	key  uint64
}

const feistelRounds = 6

func newOrder(n int, seed uint64, epoch int) order {
	half := uint(bits.Len64(uint64(max(n-1, 1)))+1) / 2
	return order{n: uint64(n), half: half, key: mix(seed) ^ mix(uint64(epoch)+0x9e3779b97f4a7c15)}
}

// at returns the sample at a position, both in 0…n-1.
func (o order) at(position int) int {
	x := uint64(position)
	for {
		x = o.permute(x)
		if x < o.n {
			return int(x)
		}
	}
}

func (o order) permute(x uint64) uint64 {
	mask := uint64(1)<<o.half - 1
	l, r := x>>o.half, x&mask
	for i := range uint64(feistelRounds) {
		l, r = r, l^mix(r^o.key^i<<56)&mask
	}
	return l<<o.half | r
}

// mix is the finaliser of SplitMix64 (Steele, Lea, Flood 2014).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
