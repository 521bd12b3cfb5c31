package blas

import "gorgonia.org/tensor"

// Add returns a + b. The tape machine adds up gradients and biases with it.
func (e Engine) Add(a, b tensor.Tensor, opts ...tensor.FuncOpt) (tensor.Tensor, error) {
	if to := elementwise(a, b, best.add, opts); to != nil {
		return to, nil
	}
	return e.StandardEngine.Add(a, b, opts...)
}

// Mul returns the products of the elements of a and b.
func (e Engine) Mul(a, b tensor.Tensor, opts ...tensor.FuncOpt) (tensor.Tensor, error) {
	if to := elementwise(a, b, best.mul, opts); to != nil {
		return to, nil
	}
	return e.StandardEngine.Mul(a, b, opts...)
}

// elementwise writes f of the elements of a and b to where the options want it.
// It returns nil, and does nothing, when the standard engine should.
func elementwise(a, b tensor.Tensor, f func(dst, x, y []float32), opts []tensor.FuncOpt) tensor.Tensor {
	x, y := plain(a), plain(b)
	if x == nil || y == nil || !contiguous32(x) || !contiguous32(y) || !x.Shape().Eq(y.Shape()) {
		return nil
	}
	o := tensor.ParseFuncOpts(opts...)
	reuse, incr := o.IncrReuse()
	to := x
	switch {
	case incr:
		return nil
	case reuse != nil:
		if to = plain(reuse); to == nil || !contiguous32(to) || !to.Shape().Eq(x.Shape()) {
			return nil
		}
	case o.Safe():
		to = tensor.NewDense(tensor.Float32, x.Shape().Clone(), tensor.WithEngine(x.Engine()))
	}
	f(to.Float32s(), x.Float32s(), y.Float32s())
	return to
}

func plainAdd(dst, x, y []float32) {
	dst, y = dst[:len(x)], y[:len(x)]
	for i, v := range x {
		dst[i] = v + y[i]
	}
}

func plainMul(dst, x, y []float32) {
	dst, y = dst[:len(x)], y[:len(x)]
	for i, v := range x {
		dst[i] = v * y[i]
	}
}
