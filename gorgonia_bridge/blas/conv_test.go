package blas

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// A layer is Gorgonia's or ours, of one shape.
type layer func(x, w *gorgonia.Node) (*gorgonia.Node, error)

// through returns what a layer makes of random images and filters, and the
// gradients of a random weighted sum of it.
func through(t *testing.T, dt tensor.Dtype, images, filters tensor.Shape, l layer) (all [][]float64, err error) {
	t.Helper()
	g := gorgonia.NewGraph()
	r := rand.New(rand.NewPCG(8, 9))
	x, w := noise(g, r, "x", dt, images), noise(g, r, "w", dt, filters)
	out, err := l(x, w)
	if err != nil {
		return nil, err
	}
	weighted := gorgonia.Must(gorgonia.HadamardProd(out, noise(g, r, "weights", dt, out.Shape())))
	loss := gorgonia.Must(gorgonia.Sum(gorgonia.Must(gorgonia.Reshape(weighted, tensor.Shape{out.Shape().TotalSize()}))))
	params := gorgonia.Nodes{x}
	if filters != nil {
		params = append(params, w)
	}
	if _, err := gorgonia.Grad(loss, params...); err != nil {
		t.Fatal(err)
	}
	var result gorgonia.Value
	gorgonia.Read(out, &result)
	vm := gorgonia.NewTapeMachine(g, gorgonia.BindDualValues(params...))
	defer vm.Close()
	for range 2 { // memory is used again
		for _, p := range params {
			if d, err := p.Grad(); err == nil && d != nil {
				d.(*tensor.Dense).Zero()
			}
		}
		if err := vm.RunAll(); err != nil {
			t.Fatal(err)
		}
		vm.Reset()
	}
	all = append(all, float64s(result))
	for _, p := range params {
		d, err := p.Grad()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, float64s(d))
	}
	return all, nil
}

func noise(g *gorgonia.ExprGraph, r *rand.Rand, name string, dt tensor.Dtype, shape tensor.Shape) *gorgonia.Node {
	if shape == nil {
		shape = tensor.Shape{1}
	}
	d := tensor.New(tensor.WithShape(shape...), tensor.Of(dt))
	for i := range d.DataSize() {
		if dt == tensor.Float32 {
			d.Float32s()[i] = float32(r.NormFloat64())
		} else {
			d.Float64s()[i] = r.NormFloat64()
		}
	}
	return gorgonia.NodeFromAny(g, d, gorgonia.WithName(name))
}

func float64s(v gorgonia.Value) []float64 {
	if x, ok := v.Data().([]float64); ok {
		return slices.Clone(x)
	}
	var out []float64
	for _, x := range v.Data().([]float32) {
		out = append(out, float64(x))
	}
	return out
}

func checkSame(t *testing.T, what string, got, want [][]float64, tolerance float64) {
	t.Helper()
	for i, name := range []string{"result", "gradient of the images", "gradient of the filters"}[:len(want)] {
		if len(got[i]) != len(want[i]) {
			t.Fatalf("%s: the %s has %d elements, want %d", what, name, len(got[i]), len(want[i]))
		}
		for j := range want[i] {
			if !(math.Abs(got[i][j]-want[i][j]) <= tolerance*(1+math.Abs(want[i][j]))) {
				t.Fatalf("%s: element %d of the %s is %v, want %v", what, j, name, got[i][j], want[i][j])
			}
		}
	}
}

// Convolutions are Gorgonia's, with all windows, in both types.
func TestConv2d(t *testing.T) {
	for _, c := range []struct {
		images, filters       tensor.Shape
		pad, stride, dilation []int
	}{
		{tensor.Shape{3, 2, 7, 6}, tensor.Shape{4, 2, 3, 3}, []int{1, 1}, []int{1, 1}, []int{1, 1}},
		{tensor.Shape{2, 3, 8, 9}, tensor.Shape{5, 3, 3, 2}, []int{0, 0}, []int{1, 1}, []int{1, 1}},
		{tensor.Shape{2, 1, 9, 9}, tensor.Shape{2, 1, 3, 3}, []int{1, 2}, []int{2, 2}, []int{1, 1}},
		{tensor.Shape{1, 2, 11, 10}, tensor.Shape{3, 2, 5, 3}, []int{2, 0}, []int{3, 2}, []int{1, 1}},
		{tensor.Shape{4, 3, 5, 5}, tensor.Shape{6, 3, 1, 1}, []int{0, 0}, []int{1, 1}, []int{1, 1}},
		{tensor.Shape{2, 2, 9, 9}, tensor.Shape{3, 2, 3, 3}, []int{2, 2}, []int{1, 1}, []int{2, 2}},
		{tensor.Shape{2, 2, 12, 9}, tensor.Shape{3, 2, 3, 2}, []int{2, 1}, []int{2, 1}, []int{2, 3}},
		{tensor.Shape{2, 2, 3, 3}, tensor.Shape{3, 2, 3, 3}, []int{3, 3}, []int{2, 2}, []int{1, 1}},
	} {
		for _, dt := range []tensor.Dtype{tensor.Float32, tensor.Float64} {
			what := fmt.Sprintf("%v, images %v, filters %v, pad %v, stride %v, dilation %v", dt, c.images, c.filters, c.pad, c.stride, c.dilation)
			run := func(conv func(_, _ *gorgonia.Node, _ tensor.Shape, _, _, _ []int) (*gorgonia.Node, error)) [][]float64 {
				out, err := through(t, dt, c.images, c.filters, func(x, w *gorgonia.Node) (*gorgonia.Node, error) {
					return conv(x, w, c.filters[2:], c.pad, c.stride, c.dilation)
				})
				if err != nil {
					t.Fatalf("%s: %v", what, err)
				}
				return out
			}
			tolerance := 1e-12
			if dt == tensor.Float32 {
				tolerance = 1e-4
			}
			ours := run(Conv2d)
			checkSame(t, what, ours, run(gorgonia.Conv2d), tolerance)
			threads := runtime.GOMAXPROCS(3)
			again := run(Conv2d)
			runtime.GOMAXPROCS(threads)
			checkSame(t, what+", with 3 threads", again, ours, 0)
		}
	}
}

// Wherever the elements of an image lie in memory, they are taken in their order.
func TestContiguous(t *testing.T) {
	for name, x := range layouts(t) {
		got, shape := contiguous[float32](x), x.Shape()
		for i := range shape.TotalSize() {
			want, err := x.At(i/(shape[1]*shape[2]*shape[3]), i/(shape[2]*shape[3])%shape[1], i/shape[3]%shape[2], i%shape[3])
			if err != nil {
				t.Fatal(err)
			}
			if got[i] != want {
				t.Errorf("%s, %v: element %d is %v, want %v", name, shape, i, got[i], want)
				break
			}
		}
	}
}

// layouts returns tensors of four dimensions in all ways that memory may have.
func layouts(t *testing.T) map[string]*tensor.Dense {
	t.Helper()
	data := tensor.Range(tensor.Float32, 0, 120).([]float32)
	fresh := func() *tensor.Dense {
		return tensor.New(tensor.WithShape(2, 3, 4, 5), tensor.WithBacking(slices.Clone(data)))
	}
	turned := fresh()
	if err := turned.T(0, 3, 1, 2); err != nil {
		t.Fatal(err)
	}
	part := func(x *tensor.Dense, s ...tensor.Slice) *tensor.Dense {
		v, err := x.Slice(s...)
		if err != nil {
			t.Fatal(err)
		}
		return v.(*tensor.Dense)
	}
	return map[string]*tensor.Dense{
		"by rows":                  fresh(),
		"by columns":               tensor.New(tensor.WithShape(2, 3, 4, 5), tensor.AsFortran(slices.Clone(data))),
		"one pixel":                tensor.New(tensor.WithShape(1, 1, 1, 1), tensor.WithBacking([]float32{7})),
		"one pixel, by columns":    tensor.New(tensor.WithShape(1, 1, 1, 1), tensor.AsFortran([]float32{7})),
		"transposed":               turned,
		"a batch":                  part(fresh(), gorgonia.S(0, 2)),
		"channels":                 part(fresh(), nil, gorgonia.S(1, 3)),
		"a batch of transposed":    part(turned, gorgonia.S(0, 2)),
		"channels of transposed":   part(turned, nil, gorgonia.S(1, 3)),
		"every second one of five": part(turned, nil, gorgonia.S(0, 5, 2)),
	}
}

// Pooling is Gorgonia's, also where places overlap or leave pixels out.
func TestMaxPool2D(t *testing.T) {
	for _, c := range []struct {
		images      tensor.Shape
		kernel      tensor.Shape
		pad, stride []int
	}{
		{tensor.Shape{2, 3, 8, 6}, tensor.Shape{2, 2}, []int{0, 0}, []int{2, 2}},
		{tensor.Shape{2, 3, 7, 9}, tensor.Shape{2, 2}, []int{0, 0}, []int{2, 2}},
		{tensor.Shape{1, 2, 8, 8}, tensor.Shape{3, 3}, []int{0, 0}, []int{2, 2}},
		{tensor.Shape{3, 1, 7, 8}, tensor.Shape{3, 2}, []int{1, 1}, []int{1, 2}},
		{tensor.Shape{2, 2, 5, 5}, tensor.Shape{1, 1}, []int{0, 0}, []int{2, 3}},
		{tensor.Shape{1, 1, 9, 9}, tensor.Shape{2, 2}, []int{0, 0}, []int{3, 3}},
	} {
		for _, dt := range []tensor.Dtype{tensor.Float32, tensor.Float64} {
			what := fmt.Sprintf("%v, images %v, kernel %v, pad %v, stride %v", dt, c.images, c.kernel, c.pad, c.stride)
			run := func(pool func(_ *gorgonia.Node, _ tensor.Shape, _, _ []int) (*gorgonia.Node, error)) [][]float64 {
				out, err := through(t, dt, c.images, nil, func(x, _ *gorgonia.Node) (*gorgonia.Node, error) {
					return pool(x, c.kernel, c.pad, c.stride)
				})
				if err != nil {
					t.Fatalf("%s: %v", what, err)
				}
				return out
			}
			checkSame(t, what, run(MaxPool2D), run(gorgonia.MaxPool2D), 0)
		}
	}
}

// Layers that cannot be are refused when the graph is built.
func TestLayersRefuse(t *testing.T) {
	g := gorgonia.NewGraph()
	r := rand.New(rand.NewPCG(1, 1))
	x, w := noise(g, r, "x", tensor.Float32, tensor.Shape{2, 3, 5, 5}), noise(g, r, "w", tensor.Float32, tensor.Shape{4, 3, 3, 3})
	flat := noise(g, r, "flat", tensor.Float32, tensor.Shape{2, 3})
	three, one, none := tensor.Shape{3, 3}, []int{1, 1}, []int{0, 0}
	for name, f := range map[string]func() (*gorgonia.Node, error){
		"a flat image":        func() (*gorgonia.Node, error) { return Conv2d(flat, w, three, one, one, one) },
		"another kernel":      func() (*gorgonia.Node, error) { return Conv2d(x, w, tensor.Shape{2, 2}, one, one, one) },
		"a stride of 0":       func() (*gorgonia.Node, error) { return Conv2d(x, w, three, one, none, one) },
		"negative padding":    func() (*gorgonia.Node, error) { return Conv2d(x, w, three, []int{-1, 0}, one, one) },
		"a window too large":  func() (*gorgonia.Node, error) { return Conv2d(x, w, three, none, one, []int{3, 3}) },
		"one stride":          func() (*gorgonia.Node, error) { return Conv2d(x, w, three, one, []int{1}, one) },
		"pooling of rows":     func() (*gorgonia.Node, error) { return MaxPool2D(flat, three, none, one) },
		"too large a pool":    func() (*gorgonia.Node, error) { return MaxPool2D(x, tensor.Shape{6, 6}, none, one) },
		"padding like kernel": func() (*gorgonia.Node, error) { return MaxPool2D(x, tensor.Shape{2, 2}, []int{2, 0}, one) },
	} {
		if _, err := f(); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}
