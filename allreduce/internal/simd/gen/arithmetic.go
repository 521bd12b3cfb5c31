package main

import (
	"strings"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// An instruction has the form (b, a, dst): dst = a op b.
type instruction func(ops ...Op)

// An element is a type of numbers and what processors can do with it.
type element struct {
	name      string
	size      int
	float     bool
	add, mul  instruction
	min, max  instruction
	broadcast instruction
	// Only AVX-512 has the instructions to multiply, and for min and max.
	wideMul, wideMin bool
}

var elements = []element{
	{name: "float32", size: 4, float: true, broadcast: VBROADCASTSS,
		add: VADDPS, mul: VMULPS, min: VMINPS, max: VMAXPS},
	{name: "float64", size: 8, float: true, broadcast: VBROADCASTSD,
		add: VADDPD, mul: VMULPD, min: VMINPD, max: VMAXPD},
	{name: "int32", size: 4, broadcast: VBROADCASTSS,
		add: VPADDD, mul: VPMULLD, min: VPMINSD, max: VPMAXSD},
	{name: "int64", size: 8, broadcast: VBROADCASTSD,
		add: VPADDQ, mul: VPMULLQ, min: VPMINSQ, max: VPMAXSQ, wideMul: true, wideMin: true},
}

// function begins the kernel op for elements e.
func function(op string, e element, l level, signature string) {
	name := op + strings.ToUpper(e.name[:1]) + e.name[1:] + l.name
	TEXT(name, NOSPLIT, strings.ReplaceAll(signature, "T", e.name))
	Pragma("noescape")
}

func arithmetic(l level, e element) {
	as := func(i instruction) func() instruction { return func() instruction { return i } }
	binary(l, e, "add", as(e.add))
	if l.wide() || !e.wideMul {
		binary(l, e, "mul", as(e.mul))
		scale(l, e)
		addScale(l, e)
		sum(l, e, true)
	}
	switch {
	case e.float:
		binary(l, e, "min", as(minimum(l, e)))
		binary(l, e, "max", func() instruction { return maximum(l, e) })
	case l.wide() || !e.wideMin:
		binary(l, e, "min", as(e.min))
		binary(l, e, "max", as(e.max))
	default:
		binary(l, e, "min", as(choose(l, false)))
		binary(l, e, "max", as(choose(l, true)))
	}
	sum(l, e, false)
}

// binary is dst = src op dst. What prepare emits comes before the loop.
func binary(l level, e element, name string, prepare func() instruction) {
	function(name, e, l, "func(dst, src *T, n int)")
	dst, src, n := pointer("dst"), pointer("src"), pointer("n")
	op := prepare()
	v := l.vectors(4)
	loop(n, l.width/e.size, len(v), func(i Register, vectors int) {
		for k := range vectors {
			VMOVUPS(at(src, i, e.size, k, l.width), v[k])
		}
		for k := range vectors {
			op(at(dst, i, e.size, k, l.width), v[k], v[k])
		}
		for k := range vectors {
			VMOVUPS(v[k], at(dst, i, e.size, k, l.width))
		}
	})
	done()
}

// minimum does what the compiler makes of the builtin min, so that all bits are
// the same: the instruction returns b if either is NaN or both are zeros; when
// asked again the other way round, it returns a; the one bit or the other says
// NaN, or minus.
func minimum(l level, e element) instruction {
	return func(ops ...Op) {
		b, a, dst := l.vector(), ops[1], ops[2]
		VMOVUPS(ops[0], b)
		t := l.vector()
		e.min(b, a, t)
		e.min(a, t, b)
		l.or(t, b, dst)
	}
}

// maximum is -min(-a, -b), as the compiler does it.
func maximum(l level, e element) instruction {
	sign := l.constant(1 << 31)
	if e.size == 8 {
		VPSLLQ(Imm(32), sign, sign)
	}
	lesser := minimum(l, e)
	return func(ops ...Op) {
		b, a := l.vector(), l.vector()
		l.xor(ops[0], sign, b)
		l.xor(ops[1], sign, a)
		lesser(b, a, a)
		l.xor(a, sign, ops[2])
	}
}

// choose is min or max of int64 with AVX2.
func choose(l level, greater bool) instruction {
	return func(ops ...Op) {
		a, b, m := ops[1], l.vector(), l.vector()
		VMOVUPS(ops[0], b)
		VPCMPGTQ(b, a, m) // a > b
		if greater {
			VBLENDVPD(m, a, b, ops[2])
		} else {
			VBLENDVPD(m, b, a, ops[2])
		}
	}
}

// scale is dst = dst * by.
func scale(l level, e element) {
	function("scale", e, l, "func(dst *T, by T, n int)")
	dst, n, by := pointer("dst"), pointer("n"), l.vector()
	e.broadcast(parameter("by"), by)
	v := l.vectors(4)
	loop(n, l.width/e.size, len(v), func(i Register, vectors int) {
		for k := range vectors {
			e.mul(at(dst, i, e.size, k, l.width), by, v[k])
		}
		for k := range vectors {
			VMOVUPS(v[k], at(dst, i, e.size, k, l.width))
		}
	})
	done()
}

// addScale is dst = (src + dst) * by.
func addScale(l level, e element) {
	function("addScale", e, l, "func(dst, src *T, by T, n int)")
	dst, src, n, by := pointer("dst"), pointer("src"), pointer("n"), l.vector()
	e.broadcast(parameter("by"), by)
	v := l.vectors(4)
	loop(n, l.width/e.size, len(v), func(i Register, vectors int) {
		for k := range vectors {
			VMOVUPS(at(src, i, e.size, k, l.width), v[k])
		}
		for k := range vectors {
			e.add(at(dst, i, e.size, k, l.width), v[k], v[k])
			e.mul(by, v[k], v[k])
		}
		for k := range vectors {
			VMOVUPS(v[k], at(dst, i, e.size, k, l.width))
		}
	})
	done()
}

// headerBytes is the size of a slice's header, which begins with the pointer.
const headerBytes = 24

// sum is dst = src + src + …, in order, for every dst; scaled by a factor, if
// so asked.
func sum(l level, e element, scaled bool) {
	name, signature := "sum", "func(dsts *[]T, ndsts int, srcs *[]T, nsrcs int, n int)"
	if scaled {
		name, signature = "sumScale", "func(dsts *[]T, ndsts int, srcs *[]T, nsrcs int, by T, n int)"
	}
	function(name, e, l, signature)
	dsts, srcs, n := pointer("dsts"), pointer("srcs"), pointer("n")
	dstsEnd, srcsEnd := end(dsts, "ndsts"), end(srcs, "nsrcs")
	v, p, j := l.vectors(8), GP64(), GP64()
	by := l.vector()
	if scaled {
		e.broadcast(parameter("by"), by)
	}
	loop(n, l.width/e.size, len(v), func(i Register, vectors int) {
		MOVQ(Mem{Base: srcs}, p)
		for k := range vectors {
			VMOVUPS(at(p, i, e.size, k, l.width), v[k])
		}
		LEAQ(Mem{Base: srcs, Disp: headerBytes}, j)
		stretch(j, srcsEnd, headerBytes, func() {
			MOVQ(Mem{Base: j}, p)
			for k := range vectors {
				e.add(at(p, i, e.size, k, l.width), v[k], v[k])
			}
		})
		for k := 0; scaled && k < vectors; k++ {
			e.mul(by, v[k], v[k])
		}
		MOVQ(dsts, j)
		stretch(j, dstsEnd, headerBytes, func() {
			MOVQ(Mem{Base: j}, p)
			for k := range vectors {
				VMOVUPS(v[k], at(p, i, e.size, k, l.width))
			}
		})
	})
	done()
}

// end returns the address behind an array of slices.
func end(p Register, count string) Register {
	e := pointer(count)
	IMUL3Q(Imm(headerBytes), e, e)
	ADDQ(p, e)
	return e
}
