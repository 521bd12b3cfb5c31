//go:build !noasm

package blas

import "golang.org/x/sys/cpu"

//go:generate go run gen/main.go

var avx2 = &kernel{
	name:     "avx2",
	tiles:    tilesAVX2,
	left:     packer{6, copy6, interleaving(6)},
	right:    packer{16, copy16, interleaving(8, 8)},
	dot:      dotAVX2,
	unpacked: 5 * 6,
	latency:  4,
	turn:     turnAVX2,
	atLeast:  atLeastAVX2,
	add:      addAVX2,
	mul:      mulAVX2,
}

var avx512 = &kernel{
	name:     "avx512",
	tiles:    tilesAVX512,
	left:     packer{14, copy14, interleaving(8, 6)},
	right:    packer{32, copy32, interleaving(8, 8, 8, 8)},
	dot:      dotAVX2,
	unpacked: 5 * 14,
	latency:  4,
	turn:     turnAVX2,
	atLeast:  atLeastAVX2,
	add:      addAVX2,
	mul:      mulAVX2,
}

var best = choose()

func choose() *kernel {
	switch {
	case !cpu.X86.HasAVX2 || !cpu.X86.HasFMA:
		return generic
	case cpu.X86.HasAVX512F:
		return avx512
	}
	return avx2
}

// interleaving composes the interleave of a packer from pieces of 6 or 8 columns.
func interleaving(pieces ...int) func(k int, src []float32, ld int, dst []float32, scale float32) {
	width := 0
	for _, w := range pieces {
		width += w
	}
	return func(k int, src []float32, ld int, dst []float32, scale float32) {
		whole, at := k&^7, 0
		for _, w := range pieces {
			switch {
			case whole == 0:
			case w == 8:
				interleave8(whole/8, src[at*ld:], ld, dst[at:], width, scale)
			default:
				interleave6(whole/8, src[at*ld:], ld, dst[at:], width, scale)
			}
			at += w
		}
		for j := range width {
			for i := whole; i < k; i++ {
				dst[i*width+j] = scale * src[j*ld+i]
			}
		}
	}
}

func dotAVX2(x, y []float32) float32 {
	var sum float32
	whole := len(x) &^ 31
	if whole > 0 {
		sum = dot32(whole/32, x, y)
	}
	for i, v := range x[whole:] {
		sum += v * y[whole+i]
	}
	return sum
}

func turnAVX2(dst, src []float32, rows, cols, ld int) {
	wholeRows, wholeCols := rows&^7, cols&^7
	if wholeRows > 0 {
		for j := 0; j < wholeCols; j += 8 {
			interleave8(wholeRows/8, src[j*ld:], ld, dst[j:], cols, 1)
		}
	}
	for i := range rows {
		from := wholeCols
		if i >= wholeRows {
			from = 0
		}
		gather(dst[i*cols+from:][:cols-from], src[min(i+from*ld, len(src)):], ld)
	}
}

func atLeastAVX2(dst, src []float32, bound float32) {
	whole := len(src) &^ 31
	if whole > 0 {
		atLeast32(whole/32, src, dst, bound)
	}
	plainAtLeast(dst[whole:], src[whole:], bound)
}

func addAVX2(dst, x, y []float32) {
	whole := len(x) &^ 31
	if whole > 0 {
		add32(whole/32, dst, x, y)
	}
	plainAdd(dst[whole:], x[whole:], y[whole:])
}

func mulAVX2(dst, x, y []float32) {
	whole := len(x) &^ 31
	if whole > 0 {
		mul32(whole/32, dst, x, y)
	}
	plainMul(dst[whole:], x[whole:], y[whole:])
}
