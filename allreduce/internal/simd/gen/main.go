// Gen writes the kernels for amd64: every one for AVX2 and for AVX-512.
//
// All have a count n of elements that is a multiple of one vector (of blocks,
// where they are told so); package simd does the rest of a slice in Go. They
// first take several vectors at a time, which keeps more loads under way, then
// single ones. No product is fused with a sum: the forms in Go round both.
package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// A level is a width of vectors in bytes: 32 with AVX2, 64 with AVX-512.
type level struct {
	name  string
	width int
}

var levels = []level{{"AVX2", 32}, {"AVX512", 64}}

func main() {
	ConstraintExpr("!noasm")
	for _, l := range levels {
		for _, e := range elements {
			arithmetic(l, e)
		}
		conversions(l)
		quantisation(l)
		stream(l)
	}
	Generate()
}

func (l level) wide() bool { return l.width == 64 }

func (l level) vector() VecVirtual {
	if l.wide() {
		return ZMM()
	}
	return YMM()
}

func (l level) vectors(n int) []VecVirtual {
	v := make([]VecVirtual, n)
	for i := range v {
		v[i] = l.vector()
	}
	return v
}

// half returns the lower half of a vector.
func (l level) half(v VecVirtual) Register {
	if l.wide() {
		return v.AsY()
	}
	return v.AsX()
}

func (l level) xor(a, b, dst Op) {
	if l.wide() {
		VPXORD(a, b, dst)
	} else {
		VPXOR(a, b, dst)
	}
}

func (l level) and(a, b, dst Op) {
	if l.wide() {
		VPANDD(a, b, dst)
	} else {
		VPAND(a, b, dst)
	}
}

func (l level) or(a, b, dst Op) {
	if l.wide() {
		VPORD(a, b, dst)
	} else {
		VPOR(a, b, dst)
	}
}

// constant returns a vector whose elements of 32 bits are all c.
func (l level) constant(c uint32) VecVirtual {
	v, x, g := l.vector(), XMM(), GP32()
	MOVL(U32(c), g)
	VMOVD(g, x)
	VPBROADCASTD(x, v)
	return v
}

// parameter returns the address of a parameter on the stack.
func parameter(name string) Op {
	c, err := Param(name).Resolve()
	if err != nil {
		panic(err)
	}
	return c.Addr
}

func pointer(name string) Register { return Load(Param(name), GP64()) }

// at returns the address of vector k, counted from element i of p; each takes
// width bytes of elements of size bytes.
func at(p, i Register, size, k, width int) Mem {
	return Mem{Base: p, Index: i, Scale: uint8(size), Disp: k * width}
}

// labels makes the names of the loops of a function different.
var labels int

// loop emits body for many vectors at a time, then for one, with i counting
// the elements up to n; each vector has lanes of them.
func loop(n Register, lanes, many int, body func(i Register, vectors int)) {
	i, end := GP64(), GP64()
	XORQ(i, i)
	if many > 1 {
		MOVQ(n, end)
		ANDQ(I32(-lanes*many), end)
		stretch(i, end, lanes*many, func() { body(i, many) })
	}
	stretch(i, n, lanes, func() { body(i, 1) })
}

// stretch emits a loop from i to end.
func stretch(i, end Register, step int, body func()) {
	top, done := label("loop"), label("done")
	CMPQ(i, end)
	JGE(LabelRef(done))
	Label(top)
	body()
	ADDQ(U32(uint32(step)), i)
	CMPQ(i, end)
	JLT(LabelRef(top))
	Label(done)
}

func label(name string) string {
	labels++
	return name + string(rune('A'+labels/26%26)) + string(rune('A'+labels%26))
}

func done() {
	VZEROUPPER()
	RET()
}
