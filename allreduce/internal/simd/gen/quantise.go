package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// blockLen is simd.BlockLen.
const blockLen = 256

func quantisation(l level) {
	maxAbs(l)
	quantise(l)
	dequantise(l, false)
	dequantise(l, true)
}

// blocks emits body for every block, four vectors at a time, with i counting the
// elements of all, and before for what differs between blocks.
func blocks(l level, i Register, before func(block Register), body func()) {
	n, b := pointer("blocks"), GP64()
	XORQ(b, b)
	XORQ(i, i)
	stretch(b, n, 1, func() {
		before(b)
		last := GP64()
		LEAQ(Mem{Base: i, Disp: blockLen}, last)
		stretch(i, last, l.width/4*4, body)
	})
}

// maxAbs is dst = max |x| of each of the parts of n elements that x has. Without
// their signs floats are ordered as integers are, and NaN above all.
func maxAbs(l level) {
	TEXT("maxAbs"+l.name, NOSPLIT, "func(dst, x *float32, parts, n int)")
	Pragma("noescape")
	dst, x, parts, n := pointer("dst"), pointer("x"), pointer("parts"), pointer("n")
	mask := l.constant(0x7fffffff)
	acc, v, p := l.vectors(4), l.vectors(4), GP64()
	XORQ(p, p)
	stretch(p, parts, 1, func() {
		for _, a := range acc {
			l.xor(a, a, a)
		}
		loop(n, l.width/4, len(v), func(i Register, vectors int) {
			for k := range vectors {
				l.and(at(x, i, 4, k, l.width), mask, v[k])
				VPMAXUD(v[k], acc[k], acc[k])
			}
		})
		VPMAXUD(acc[1], acc[0], acc[0])
		VPMAXUD(acc[3], acc[2], acc[2])
		VPMAXUD(acc[2], acc[0], acc[0])
		VMOVD(across(l, acc[0]), Mem{Base: dst, Index: p, Scale: 4})
		LEAQ(Mem{Base: x, Index: n, Scale: 4}, x)
	})
	done()
}

// across returns the greatest element of v.
func across(l level, v VecVirtual) Register {
	y, x, t := v.AsY(), v.AsX(), XMM()
	if l.wide() {
		h := YMM()
		VEXTRACTI64X4(Imm(1), v, h)
		VPMAXUD(h, y, y)
	}
	VEXTRACTI128(Imm(1), y, t)
	VPMAXUD(t, x, x)
	VPSHUFD(Imm(0x4e), x, t)
	VPMAXUD(t, x, x)
	VPSHUFD(Imm(0xb1), x, t)
	VPMAXUD(t, x, x)
	return x
}

// quantise is q = round(x * by), to nearest even, with one factor for a block.
func quantise(l level) {
	TEXT("quantise"+l.name, NOSPLIT, "func(q *int8, x, by *float32, blocks int)")
	Pragma("noescape")
	q, x, by, i := pointer("q"), pointer("x"), pointer("by"), GP64()
	factor, v, order := l.vector(), l.vectors(4), l.vector()
	if !l.wide() {
		VMOVDQU(packed(), order)
	}
	blocks(l, i, func(b Register) {
		VBROADCASTSS(Mem{Base: by, Index: b, Scale: 4}, factor)
	}, func() {
		for k := range v {
			VMULPS(at(x, i, 4, k, l.width), factor, v[k])
			VCVTPS2DQ(v[k], v[k])
		}
		if l.wide() {
			for k := range v {
				VPMOVSDB(v[k], at(q, i, 1, k, l.width/4))
			}
			return
		}
		VPACKSSDW(v[1], v[0], v[0])
		VPACKSSDW(v[3], v[2], v[2])
		VPACKSSWB(v[2], v[0], v[0])
		VPERMD(v[0], order, v[0])
		VMOVDQU(v[0], at(q, i, 1, 0, 0))
	})
	done()
}

// packed undoes the order in which packing two lanes at a time leaves the parts.
func packed() Mem {
	m := GLOBL("packed", RODATA|NOPTR)
	for k, i := range []uint32{0, 4, 1, 5, 2, 6, 3, 7} {
		DATA(4*k, U32(i))
	}
	return m
}

// dequantise is dst = q * scale, or dst += q * scale.
func dequantise(l level, add bool) {
	name := "dequantise"
	if add {
		name = "dequantiseAdd"
	}
	TEXT(name+l.name, NOSPLIT, "func(dst *float32, q *int8, scales *float32, blocks int)")
	Pragma("noescape")
	dst, q, scales, i := pointer("dst"), pointer("q"), pointer("scales"), GP64()
	scale, v := l.vector(), l.vectors(4)
	blocks(l, i, func(b Register) {
		VBROADCASTSS(Mem{Base: scales, Index: b, Scale: 4}, scale)
	}, func() {
		for k := range v {
			VPMOVSXBD(at(q, i, 1, k, l.width/4), v[k])
		}
		for k := range v {
			VCVTDQ2PS(v[k], v[k])
			VMULPS(scale, v[k], v[k])
			if add {
				VADDPS(at(dst, i, 4, k, l.width), v[k], v[k])
			}
			VMOVUPS(v[k], at(dst, i, 4, k, l.width))
		}
	})
	done()
}

// stream is dst = src past the caches; dst is aligned to a vector.
func stream(l level) {
	TEXT("stream"+l.name, NOSPLIT, "func(dst, src *byte, n int)")
	Pragma("noescape")
	dst, src, n := pointer("dst"), pointer("src"), pointer("n")
	v := l.vectors(4)
	loop(n, l.width, len(v), func(i Register, vectors int) {
		for k := range vectors {
			VMOVUPS(at(src, i, 1, k, l.width), v[k])
		}
		for k := range vectors {
			VMOVNTPS(v[k], at(dst, i, 1, k, l.width))
		}
	})
	SFENCE() // such stores are not ordered with the others
	done()
}
