package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// conversions are those between float32 and the formats of 16 bits. A vector
// here is one of float32, or the half as many bytes of the others.
func conversions(l level) {
	narrow(l, "halfFromFloat32", func() converter {
		return func(v VecVirtual, dst Op) { VCVTPS2PH(Imm(0), v, dst) } // 0: to nearest even
	})
	widen(l, "float32FromHalf", func(src Op, v VecVirtual) { VCVTPH2PS(src, v) })
	narrow(l, "bfloat16FromFloat32", func() converter { return bfloat16(l) })
	widen(l, "float32FromBfloat16", func(src Op, v VecVirtual) {
		VPMOVZXWD(src, v)
		VPSLLD(Imm(16), v, v)
	})
}

// A converter stores a vector in another format, and may use it up.
type converter func(v VecVirtual, dst Op)

func narrow(l level, name string, prepare func() converter) {
	TEXT(name+l.name, NOSPLIT, "func(dst *uint16, src *float32, n int)")
	Pragma("noescape")
	dst, src, n := pointer("dst"), pointer("src"), pointer("n")
	store := prepare()
	v := l.vectors(4)
	loop(n, l.width/4, len(v), func(i Register, vectors int) {
		for k := range vectors {
			VMOVUPS(at(src, i, 4, k, l.width), v[k])
		}
		for k := range vectors {
			store(v[k], at(dst, i, 2, k, l.width/2))
		}
	})
	done()
}

func widen(l level, name string, load func(src Op, v VecVirtual)) {
	TEXT(name+l.name, NOSPLIT, "func(dst *float32, src *uint16, n int)")
	Pragma("noescape")
	dst, src, n := pointer("dst"), pointer("src"), pointer("n")
	v := l.vectors(4)
	loop(n, l.width/4, len(v), func(i Register, vectors int) {
		for k := range vectors {
			load(at(src, i, 2, k, l.width/2), v[k])
		}
		for k := range vectors {
			VMOVUPS(v[k], at(dst, i, 4, k, l.width))
		}
	})
	done()
}

// bfloat16 rounds in integers: add just under half of the last place, one more
// if it is odd, and cut. The instruction made for it takes subnormals for zero.
// A NaN is cut and made quiet instead.
func bfloat16(l level) converter {
	half, one, quiet := l.constant(0x7fff), l.constant(1), l.constant(0x400000)
	return func(v VecVirtual, dst Op) {
		t, nan := l.vector(), l.vector()
		VPSRLD(Imm(16), v, t)
		l.and(one, t, t)
		VPADDD(half, t, t)
		VPADDD(v, t, t)
		l.or(quiet, v, nan)
		if l.wide() {
			m := K()
			VCMPPS(Imm(3), v, v, m) // 3: unordered
			VMOVDQA32(nan, m, t)
			VPSRLD(Imm(16), t, t)
			VPMOVDW(t, dst)
			return
		}
		VCMPPS(Imm(3), v, v, v)
		VBLENDVPS(v, nan, t, t)
		VPSRLD(Imm(16), t, t)
		x := XMM()
		VEXTRACTI128(Imm(1), t, x)
		VPACKUSDW(x, t.AsX(), x)
		VMOVDQU(x, dst)
	}
}
