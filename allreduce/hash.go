package allreduce

import "github.com/ringrun/ringrun/allreduce/internal/simd"

// Hash returns the XXH3 of the vector's memory: equal bits have equal hashes. It is
// good against accidents, not against people.
func (v Vector) Hash() uint64 { return simd.Hash(v.Bytes()) }
