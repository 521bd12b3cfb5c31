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

func TestOverwrite(t *testing.T) {
	src := make([]byte, 5000)
	for i := range src {
		src[i] = byte(rand.Uint32())
	}
	for _, n := range []int{0, 1, 63, 64, 65, 700, 4097} {
		for _, shift := range []int{0, 1, 63} {
			dst := make([]byte, n+shift+100)
			Overwrite(dst[shift:shift+n], src[shift:])
			if !bytes.Equal(dst[shift:shift+n], src[shift:][:n]) {
				t.Fatalf("%d bytes to %d came out different", n, shift)
			}
			if rest := dst[shift+n:]; !bytes.Equal(rest, make([]byte, len(rest))) {
				t.Fatalf("wrote more than %d bytes", n)
			}
		}
	}
}
