//go:build !noasm

package simd

// Claim says that b is about to be written, so that the processor takes its cache
// lines back from others while it does something else. It changes nothing.
func Claim(b []byte) {
	if len(b) > 0 {
		claim(&b[0], len(b))
	}
}

//go:noescape
func claim(p *byte, n int)
