package simd

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

func TestStream(t *testing.T) {
	src := make([]byte, 1<<16)
	for i := range src {
		src[i] = byte(rand.Uint32())
	}
	for _, s := range Sets() {
		for n := range 700 {
			for _, shift := range []int{0, 1, 31, 63} {
				dst := make([]byte, n+shift+100)
				s.Stream(dst[shift:shift+n], src[n%70:])
				if !bytes.Equal(dst[shift:shift+n], src[n%70:][:n]) {
					t.Fatalf("%s: %d bytes to %d came out different", s.Level, n, shift)
				}
				if rest := dst[shift+n:]; !bytes.Equal(rest, make([]byte, len(rest))) {
					t.Fatalf("%s: wrote more than %d bytes", s.Level, n)
				}
			}
		}
	}
}
