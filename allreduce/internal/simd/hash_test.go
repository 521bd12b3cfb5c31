package simd

import (
	"strings"
	"testing"
)

// TestHash holds the hash to published values of XXH3, so that it cannot change.
func TestHash(t *testing.T) {
	for s, want := range map[string]uint64{
		"":                            0x2d06800538d394c2,
		"a":                           0xe6c632b61e964e1f,
		strings.Repeat("ring", 1<<18): 0x3af92608c25c49ad,
	} {
		if got := Hash([]byte(s)); got != want {
			t.Errorf("Hash of %d bytes is %#x, want %#x", len(s), got, want)
		}
	}
}
