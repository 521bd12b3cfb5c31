package allreduce

import (
	"unsafe"

	"github.com/ringrun/ringrun/allreduce/internal/simd"
)

// terms are the vectors of all peers, and memory to combine them.
type terms struct {
	vectors []Vector // by rank
	order   []Vector // their part, as they are combined
	scratch [2][]int64

	f32 operands[float32]
	f64 operands[float64]
	i32 operands[int32]
	i64 operands[int64]
}

type operands[T simd.Number] struct{ dsts, srcs [][]T }

func newTerms(size int) terms {
	return terms{vectors: make([]Vector, size), order: make([]Vector, size)}
}

// combine makes the result of elements lo to hi, which belong to chunk i: in the
// order i+1, i+2, …, i. It goes to w.x, which is one of the vectors, and, if also
// is not empty, to that as well.
func (t *terms) combine(w *Work, i, lo, hi int, also Vector) {
	n := len(t.vectors)
	for k := range n {
		r := i + 1 + k
		if r >= n {
			r -= n
		}
		t.order[k] = t.vectors[r].Slice(lo, hi)
	}
	t.reduce(w, w.x.Slice(lo, hi), also)
}

// reduce combines what is in order into dst, and copies it to also.
func (t *terms) reduce(w *Work, dst, also Vector) {
	if w.op != Sum && w.op != Mean || !t.sum(w, dst, also) {
		t.chain(w, dst)
		w.leave(dst)
		copy(also.Bytes(), dst.Bytes())
		return
	}
	if w.op == Mean && (w.x.typ.integral() || w.scale != nil && w.scale.After != 1) {
		w.leave(dst)
		copy(also.Bytes(), dst.Bytes())
	}
}

// sum adds up all in one pass, if there is a kernel for the type.
func (t *terms) sum(w *Work, dst, also Vector) bool {
	after := w.scale != nil && w.scale.After != 1
	switch w.x.typ {
	case Float32:
		t.f32.set(dst, also, t.order)
		switch {
		case w.op == Mean && !after: // with a factor there are two roundings, see reduce
			simd.Float32.SumScale(t.f32.dsts, t.f32.srcs, 1/float32(w.c.size))
		case w.op == Sum && after:
			simd.Float32.SumScale(t.f32.dsts, t.f32.srcs, float32(w.scale.After))
		default:
			simd.Float32.Sum(t.f32.dsts, t.f32.srcs)
		}
	case Float64:
		t.f64.set(dst, also, t.order)
		switch {
		case w.op == Mean && !after:
			simd.Float64.SumScale(t.f64.dsts, t.f64.srcs, 1/float64(w.c.size))
		case w.op == Sum && after:
			simd.Float64.SumScale(t.f64.dsts, t.f64.srcs, w.scale.After)
		default:
			simd.Float64.Sum(t.f64.dsts, t.f64.srcs)
		}
	case Int32:
		t.i32.set(dst, also, t.order)
		simd.Int32.Sum(t.i32.dsts, t.i32.srcs)
	case Int64:
		t.i64.set(dst, also, t.order)
		simd.Int64.Sum(t.i64.dsts, t.i64.srcs)
	default:
		return false
	}
	return true
}

func (o *operands[T]) set(dst, also Vector, srcs []Vector) {
	o.dsts = append(o.dsts[:0], numbers[T](dst))
	if also.len > 0 {
		o.dsts = append(o.dsts, numbers[T](also))
	}
	o.srcs = o.srcs[:0]
	for _, s := range srcs {
		o.srcs = append(o.srcs, numbers[T](s))
	}
}

// numbers is Elements of a type that was looked at before.
func numbers[T simd.Number](x Vector) []T { return unsafe.Slice((*T)(x.at), x.len) }

// termBytes is how much is combined at a time.
const termBytes = 32 << 10

// chain combines one after the other, the result so far as the left operand.
func (t *terms) chain(w *Work, dst Vector) {
	if t.scratch[0] == nil {
		t.scratch[0], t.scratch[1] = make([]int64, termBytes/8), make([]int64, termBytes/8)
	}
	step := termBytes / dst.typ.Size()
	for lo := 0; lo < dst.len; lo += step {
		hi := min(lo+step, dst.len)
		d, acc := dst.Slice(lo, hi), t.order[0].Slice(lo, hi)
		for k, v := range t.order[1:] {
			v = v.Slice(lo, hi)
			next := d
			if v.at != d.at || k < len(t.order)-2 { // others can still read from us, or write
				next = over(Of(t.scratch[k&1]).Bytes(), v.typ, v.len)
				copy(next.Bytes(), v.Bytes())
			}
			merge(w.op, next, acc)
			acc = next
		}
		if acc.at != d.at {
			copy(d.Bytes(), acc.Bytes())
		}
	}
}
