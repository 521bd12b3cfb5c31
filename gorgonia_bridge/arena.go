package bridge

import (
	"unsafe"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// An arena is memory for one gradient of every tensor. A bridge has two, and
// they change places with every step: in one, home, the passes of this peer add
// up; in the other the buckets are summed over all peers, while home stays as it
// is, for the case that the ring breaks. Then the solver reads the means where
// they are and zeroes them, which makes that arena the home of the next step. So
// nothing is copied back, and nothing zeroed twice.
type arena []byte

// array returns elements of the arena.
func (a arena) array(dt tensor.Dtype, off, n int) array {
	at := unsafe.Pointer(&a[off])
	if dt == tensor.Float32 {
		return array{f32: unsafe.Slice((*float32)(at), n)}
	}
	return array{f64: unsafe.Slice((*float64)(at), n)}
}

func (a arena) part(s stretch) array { return a.array(s.dtype, s.off, s.len) }

// bucket returns the whole bucket as one vector.
func (a arena) bucket(b bucket) array {
	off, n := b.span()
	return a.array(b.dtype, off, n)
}

// arrange puts the tensors in the order in which their gradients become ready,
// as far as that is known. It stays as it is once there is memory for them.
func (b *Bridge) arrange() {
	if b.arenas[0] != nil {
		return
	}
	b.places, b.arenaBytes = layOut(b.params, firingOrder(b.params))
	b.cut(b.plan)
}

// cut makes the buckets of a plan.
func (b *Bridge) cut(p plan) {
	b.cutBy, b.buckets = p, p.cut(b.places)
	for k, bucket := range b.buckets {
		for _, s := range bucket.parts {
			b.grads[s.param].bucket, b.grads[s.param].place = k, s
		}
	}
	b.endPass()
}

// settle takes the memory.
func (b *Bridge) settle() {
	if b.arenas[0] != nil || b.arenaBytes == 0 {
		return
	}
	for i := range b.arenas {
		b.arenas[i] = b.group.Alloc(b.arenaBytes)
	}
}

// bind makes the arenas the memory of Gorgonia's gradients. Those of parameters
// in column order stay where they are: a gradient may come in another order, and
// is then better left to Gorgonia.
func (b *Bridge) bind() {
	b.settle()
	for _, s := range b.places {
		g, p := &b.grads[s.param], b.params[s.param]
		if p.colMajor || g.slots[0] != nil {
			continue
		}
		for i, a := range b.arenas {
			g.slots[i] = tensor.New(tensor.WithShape(p.shape...), tensor.WithBacking(a.part(s).backing()))
			b.slots[g.slots[i]] = s.param
		}
	}
	b.rebind()
}

// rebind lets Gorgonia add gradients up at home, and this bridge see it: a
// machine that was made since on the same graph has put its engine there.
func (b *Bridge) rebind() {
	for _, s := range b.places {
		d := b.grads[s.param].slots[b.home]
		if d == nil {
			continue
		}
		if d.Engine() != tensor.Engine(b.engine) {
			tensor.WithEngine(b.engine)(d)
		}
		if p := b.params[s.param]; p.gradient() != gorgonia.Value(d) {
			gorgonia.WithGrad(d)(p.node)
		}
	}
}

// watched reports whether the hook would have seen a pass.
func (b *Bridge) watched() bool {
	for _, s := range b.places {
		if d := b.grads[s.param].slots[b.home]; d != nil {
			return b.params[s.param].gradient() == gorgonia.Value(d) && d.Engine() == tensor.Engine(b.engine)
		}
	}
	return false
}
