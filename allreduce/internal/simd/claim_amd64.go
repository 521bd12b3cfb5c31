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

// Overwrite is copy, of len(dst) bytes, by an instruction that takes lines which
// another core has read without reading them first. Where the cores are far from
// each other that is faster, in the caches of one it is not.
func Overwrite(dst, src []byte) {
	if len(dst) > 0 {
		overwrite(&dst[0], &src[:len(dst)][0], len(dst))
	}
}

//go:noescape
func overwrite(dst, src *byte, n int)
