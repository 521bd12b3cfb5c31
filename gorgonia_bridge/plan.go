package bridge

import (
	"slices"

	"gorgonia.org/tensor"
)

// A stretch is the place of one gradient in an arena.
type stretch struct {
	param int // index
	dtype tensor.Dtype
	off   int // bytes
	len   int // elements
}

func (s stretch) bytes() int { return s.len * int(s.dtype.Size()) }

// alignment is that of every stretch. What lies between two of them is zero, and
// is reduced along with them.
const alignment = 64

// layOut gives each tensor its place, in the order given. It returns the bytes
// that an arena takes.
func layOut(params []param, order []int) ([]stretch, int) {
	all, off := make([]stretch, 0, len(order)), 0
	for _, i := range order {
		s := stretch{i, params[i].dtype, off, params[i].len}
		all = append(all, s)
		off += (s.bytes() + alignment - 1) / alignment * alignment
	}
	return all, off
}

// firingOrder returns the tensors in the order in which their gradients become
// ready. The tape machine runs a graph in the order in which its nodes were
// made, so that is the order of the nodes that are the gradients. While these are
// not known, later parameters are taken to be ready earlier. Scalars, which have
// no place in an arena, are left out.
func firingOrder(params []param) []int {
	var order []int
	known := true
	for i, p := range params {
		if p.scalar() {
			continue
		}
		order = append(order, i)
		known = known && p.node.Deriv() != nil
	}
	slices.Reverse(order)
	if known {
		slices.SortStableFunc(order, func(i, j int) int {
			return int(params[i].node.Deriv().ID() - params[j].node.Deriv().ID())
		})
	}
	return order
}

// A bucket is gradients that lie next to each other and travel together.
type bucket struct {
	dtype tensor.Dtype
	parts []stretch
}

// span returns where the bucket begins and how many elements it has, padding
// between its parts included.
func (b bucket) span() (off, n int) {
	first, last := b.parts[0], b.parts[len(b.parts)-1]
	return first.off, (last.off - first.off + last.bytes()) / int(b.dtype.Size())
}

// A plan says how long gradients wait for others to travel with.
type plan struct{ first, others int } // bytes

// cut makes buckets of the places, in their order. A bucket is complete as soon
// as it has as many bytes as the plan wants, or where the type changes.
func (p plan) cut(all []stretch) []bucket {
	var buckets []bucket
	want, have := p.first, 0
	for i, s := range all {
		if i == 0 || have >= want || all[i-1].dtype != s.dtype {
			if i > 0 {
				want = p.others
			}
			buckets, have = append(buckets, bucket{dtype: s.dtype}), 0
		}
		last := &buckets[len(buckets)-1]
		last.parts = append(last.parts, s)
		have += s.bytes()
	}
	return buckets
}
