package bridge

import (
	"github.com/ringrun/ringrun/elastic"
)

// A tail is what travels last in every step: scalar parameters' gradients, which
// Gorgonia keeps in no memory of ours, what is averaged, and whether a peer wants
// the buckets reduced again. All of it is float64: it is little.
type tail struct {
	scalars []int // parameters
	values  []float64
}

func newTail(params []param, metrics int) tail {
	var t tail
	for i, p := range params {
		if p.scalar() {
			t.scalars = append(t.scalars, i)
		}
	}
	t.values = make([]float64, len(t.scalars)+metrics+1)
	return t
}

// pack fills in this peer's share.
func (t *tail) pack(b *Bridge, w elastic.Weights, redo bool) {
	clear(t.values)
	if w.Mine > 0 {
		for i, p := range t.scalars {
			t.values[i] = b.local(&b.grads[p]).first() / w.Total
		}
		for i, m := range b.metrics {
			t.values[len(t.scalars)+i] = m.sum / w.Total
		}
	}
	if redo {
		t.values[len(t.values)-1] = 1
	}
}

// redo reports, when the tail has been reduced, whether any peer wants that.
func (t *tail) redo() bool { return t.values[len(t.values)-1] > 0 }

// deliver puts the means where they are looked for.
func (t *tail) deliver(b *Bridge) {
	for i, p := range t.scalars {
		b.grads[p].grad.setFirst(t.values[i])
	}
	for i, m := range b.metrics {
		m.mean = t.values[len(t.scalars)+i]
	}
}
