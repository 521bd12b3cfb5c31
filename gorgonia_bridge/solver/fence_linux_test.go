package solver

import (
	"runtime/debug"
	"testing"

	"github.com/ringrun/ringrun/ring/ringtest"
)

// No kernel touches what is before or behind its slices.
func TestKernelsStayInside(t *testing.T) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	var pages [5]ringtest.Fence
	for i := range pages {
		pages[i] = ringtest.NewFence(t, 1)
	}
	c := coef[float32]{scale: 1, clip: 1, rate: 0.1, keep: 1, eps: 1}
	for n := 1; n < 100; n++ {
		for _, last := range []bool{false, true} {
			var x [5][]float32
			for i := range x {
				x[i] = ringtest.Within[float32](pages[i], n, last)
			}
			k := &kernels32
			k.sgd(x[0], x[1], c)
			k.momentum(x[0], x[1], x[2], c)
			k.nesterov(x[0], x[1], x[2], c)
			k.rmsprop(x[0], x[1], x[3], c)
			k.adam(x[0], x[1], x[2], x[3], c)
			k.lamb(x[4], x[0], x[1], x[2], x[3], c)
			k.usable(x[0])
			k.squares(x[0])
		}
	}
}
