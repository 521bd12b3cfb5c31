package simd

import "github.com/zeebo/xxh3"

// Hash returns the 64 bits of XXH3: good against accidents, not against people.
// Its value is the same everywhere, always.
func Hash(b []byte) uint64 { return xxh3.Hash(b) }
