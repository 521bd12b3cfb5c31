package blas

import (
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"gonum.org/v1/gonum/blas/gonum"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

var standard = gorgonia.StandardEngine{}

// TestTranspose compares with the standard engine: every type and layout, ours
// or not.
func TestTranspose(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 400 {
		shape := make(tensor.Shape, 2+r.IntN(4))
		for i := range shape {
			shape[i] = 1 + r.IntN(5)
		}
		shape[r.IntN(len(shape))] = 1 + r.IntN(40)
		axes := r.Perm(len(shape))
		seed := r.Uint64()
		for kind := range 5 {
			f := func(e tensor.Engine) (tensor.Tensor, error) {
				return tensor.Transpose(drawTensor(seed, kind, shape, e), axes...)
			}
			want, wantErr := try(f, standard)
			got, err := try(f, Engine{})
			if (err == nil) != (wantErr == nil) {
				t.Fatalf("%v by %v: %v, want %v", shape, axes, err, wantErr)
			}
			if err == nil && !sameTensor(got, want) {
				t.Fatalf("kind %d, %v by %v: %v %v %v, want %v %v %v", kind, shape, axes,
					got.Shape(), got.Strides(), got.Data(), want.Shape(), want.Strides(), want.Data())
			}
		}
	}
}

// try makes an error of the panics that some shapes cause.
func try(f func(e tensor.Engine) (tensor.Tensor, error), e tensor.Engine) (result tensor.Tensor, err error) {
	defer func() {
		if why := recover(); why != nil {
			err = fmt.Errorf("panic: %v", why)
		}
	}()
	return f(e)
}

// drawTensor makes one of several kinds; the same seed makes the same tensor.
func drawTensor(seed uint64, kind int, shape tensor.Shape, e tensor.Engine) *tensor.Dense {
	r := rand.New(rand.NewPCG(seed, 3))
	n := shape.TotalSize()
	odd := []float64{0, math.Copysign(0, -1), math.NaN(), math.Inf(1), math.Inf(-1), 0.25}
	value := func() float64 {
		if i := r.IntN(20); i < len(odd) {
			return odd[i]
		}
		return float64(float32(r.NormFloat64()))
	}
	f32, f64, ints := make([]float32, n), make([]float64, n), make([]int32, n)
	for i := range n {
		f64[i], ints[i] = value(), r.Int32()
		f32[i] = float32(f64[i])
	}
	opts := []tensor.ConsOpt{tensor.WithShape(shape...), tensor.WithEngine(e)}
	switch kind {
	case 0:
		return tensor.New(append(opts, tensor.WithBacking(f32))...)
	case 1:
		return tensor.New(append(opts, tensor.WithBacking(f64))...)
	case 2:
		return tensor.New(append(opts, tensor.WithBacking(ints))...)
	case 3:
		return tensor.New(append(opts, tensor.AsFortran(f32))...)
	}
	mask := make([]bool, n)
	for i := range mask {
		mask[i] = r.IntN(2) == 0
	}
	return tensor.New(append(opts, tensor.WithBacking(f32, mask))...)
}

func sameTensor(a, b tensor.Tensor) bool {
	x, y := a.(*tensor.Dense), b.(*tensor.Dense)
	return x.Dtype() == y.Dtype() && x.Shape().Eq(y.Shape()) && slices.Equal(x.Strides(), y.Strides()) &&
		x.DataOrder() == y.DataOrder() && slices.Equal(x.Mask(), y.Mask()) && sameData(x.Data(), y.Data())
}

func sameData(a, b any) bool {
	x, ok := a.([]float32)
	y, _ := b.([]float32)
	if !ok {
		return fmt.Sprint(a) == fmt.Sprint(b) && reflect.TypeOf(a) == reflect.TypeOf(b)
	}
	return len(x) == len(y) && firstDifference(x, y) < 0
}

func TestPermutes(t *testing.T) {
	for _, tt := range []struct {
		shape, strides []int
		n              int
		want           bool
	}{
		{[]int{2, 3}, []int{1, 2}, 6, true},
		{[]int{4, 1, 2, 3}, []int{6, 99, 1, 2}, 24, true},
		{[]int{2, 3}, []int{4, 1}, 6, false}, // a gap
		{[]int{2, 3}, []int{3, 1}, 7, false}, // more memory
		{[]int{2, 3}, []int{0, 1}, 6, false}, // repeated
		{[]int{6}, []int{1}, 6, false},
		{[]int{6, 1}, []int{1}, 6, false},
	} {
		if got := permutes(tt.shape, tt.strides, tt.n); got != tt.want {
			t.Errorf("permutes(%v, %v, %d) = %v, want %v", tt.shape, tt.strides, tt.n, got, tt.want)
		}
	}
}

// TestAtLeast does the same for ≥, with all options.
func TestAtLeast(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 5))
	same := tensor.AsSameType()
	for range 50 {
		shape := tensor.Shape{1 + r.IntN(10), 1 + r.IntN(40)}
		seed := r.Uint64()
		for kind := range 5 {
			for _, bound := range []float32{0, 0.25, float32(math.NaN()), float32(math.Inf(1))} {
				for _, left := range []bool{true, false} {
					for name, opts := range map[string]func(reuse tensor.Tensor) []tensor.FuncOpt{
						"bool":        func(tensor.Tensor) []tensor.FuncOpt { return nil },
						"same":        func(tensor.Tensor) []tensor.FuncOpt { return []tensor.FuncOpt{same} },
						"same, reuse": func(to tensor.Tensor) []tensor.FuncOpt { return []tensor.FuncOpt{same, tensor.WithReuse(to)} },
						"same, other shape": func(to tensor.Tensor) []tensor.FuncOpt {
							if err := to.Reshape(shape.TotalSize()); err != nil {
								t.Fatal(err)
							}
							return []tensor.FuncOpt{same, tensor.WithReuse(to)}
						},
						"same, unsafe": func(tensor.Tensor) []tensor.FuncOpt { return []tensor.FuncOpt{same, tensor.UseUnsafe()} },
					} {
						f := func(e tensor.Engine) (tensor.Tensor, error) {
							x := drawTensor(seed, kind, shape, e)
							to := tensor.New(tensor.WithShape(shape...), tensor.Of(x.Dtype()), tensor.WithEngine(e))
							s := tensor.New(tensor.FromScalar(bound), tensor.WithEngine(e))
							switch x.Dtype() {
							case tensor.Float64:
								s = tensor.New(tensor.FromScalar(float64(bound)), tensor.WithEngine(e))
							case tensor.Int32:
								s = tensor.New(tensor.FromScalar(int32(7)), tensor.WithEngine(e))
							}
							if left {
								return tensor.Gte(x, s, opts(to)...)
							}
							return tensor.Gte(s, x, opts(to)...)
						}
						want, wantErr := try(f, standard)
						got, err := try(f, Engine{})
						if (err == nil) != (wantErr == nil) {
							t.Fatalf("kind %d, %s: %v, want %v", kind, name, err, wantErr)
						}
						if err == nil && !sameTensor(got, want) {
							t.Fatalf("kind %d, %v ≥ %v (left %v), %s: %v, want %v", kind, shape, bound, left, name, got.Data(), want.Data())
						}
					}
				}
			}
		}
	}
}

// TestAtLeastInto: the result goes where it should, and in place.
func TestAtLeastInto(t *testing.T) {
	x := tensor.New(tensor.WithBacking([]float32{-1, 0, 2, -3}), tensor.WithShape(2, 2), tensor.WithEngine(Engine{}))
	to := tensor.New(tensor.Of(tensor.Float32), tensor.WithShape(2, 2), tensor.WithEngine(Engine{}))
	got, err := tensor.Gte(x, float32(0), tensor.AsSameType(), tensor.WithReuse(to))
	if err != nil || got != tensor.Tensor(to) || !slices.Equal(to.Float32s(), []float32{0, 1, 1, 0}) {
		t.Errorf("%v, %v; want 0 1 1 0 in the tensor given", got, err)
	}
	got, err = tensor.Gte(x, float32(0), tensor.AsSameType(), tensor.WithReuse(x))
	if err != nil || got != tensor.Tensor(x) || !slices.Equal(x.Float32s(), []float32{0, 1, 1, 0}) {
		t.Errorf("%v, %v; want 0 1 1 0 in place", got, err)
	}
}

// TestElementwise does the same for + and ×: every type and layout, all options,
// and a result in the place of an operand.
func TestElementwise(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 7))
	type operation func(a, b interface{}, opts ...tensor.FuncOpt) (tensor.Tensor, error)
	for range 60 {
		shape := tensor.Shape{1 + r.IntN(10), 1 + r.IntN(40)}
		seed := r.Uint64()
		for kind := range 5 {
			for name, do := range map[string]operation{"+": tensor.Add, "×": tensor.Mul} {
				for how := range 7 {
					f := func(e tensor.Engine) (tensor.Tensor, error) {
						x, y, to := drawTensor(seed, kind, shape, e), drawTensor(seed+1, kind, shape, e), drawTensor(seed+2, kind, shape, e)
						switch how {
						case 0:
							return do(x, y)
						case 1:
							return do(x, y, tensor.UseUnsafe())
						case 2:
							return do(x, y, tensor.WithReuse(to))
						case 3:
							return do(x, y, tensor.WithIncr(to))
						case 4:
							return do(x, y, tensor.WithReuse(x))
						case 5:
							return do(x, x, tensor.UseUnsafe())
						}
						if err := to.Reshape(shape.TotalSize()); err != nil {
							t.Fatal(err)
						}
						return do(x, y, tensor.WithReuse(to))
					}
					want, wantErr := try(f, standard)
					got, err := try(f, Engine{})
					if (err == nil) != (wantErr == nil) {
						t.Fatalf("kind %d, %s, way %d: %v, want %v", kind, name, how, err, wantErr)
					}
					if err == nil && !sameTensor(got, want) {
						t.Fatalf("kind %d, %v %s, way %d: %v, want %v", kind, shape, name, how, got.Data(), want.Data())
					}
				}
			}
		}
	}
}

// TestLayouts does the same for operands that lie in memory in any way.
func TestLayouts(t *testing.T) {
	for name := range layouts(t) {
		for how := range 3 {
			f := func(e tensor.Engine) []float32 {
				x := layouts(t)[name]
				y := tensor.New(tensor.WithShape(x.Shape().Clone()...), tensor.WithBacking(tensor.Range(tensor.Float32, 1, 1+x.Shape().TotalSize())))
				tensor.WithEngine(e)(x)
				tensor.WithEngine(e)(y)
				var z tensor.Tensor
				var err error
				switch how {
				case 0:
					z, err = tensor.Add(x, x)
				case 1:
					z, err = tensor.Mul(x, y)
				case 2:
					z, err = tensor.Gte(x, float32(60), tensor.AsSameType())
				}
				if err != nil {
					t.Fatal(err)
				}
				return contiguous[float32](z.(*tensor.Dense))
			}
			if got, want := f(Engine{}), f(standard); !slices.Equal(got, want) {
				t.Errorf("%s, way %d: %v, want %v", name, how, got, want)
			}
		}
	}
}

// TestElementwiseInto: the result goes where it should, and operands stay.
func TestElementwiseInto(t *testing.T) {
	vector := func(x ...float32) *tensor.Dense {
		return tensor.New(tensor.WithBacking(x), tensor.WithShape(2, 2), tensor.WithEngine(Engine{}))
	}
	x, y, to := vector(1, 2, 3, 4), vector(5, 6, 7, 8), vector(0, 0, 0, 0)
	got, err := tensor.Mul(x, y, tensor.WithReuse(to))
	if err != nil || got != tensor.Tensor(to) || !slices.Equal(to.Float32s(), []float32{5, 12, 21, 32}) {
		t.Errorf("%v, %v; want 5 12 21 32 in the tensor given", got, err)
	}
	got, err = tensor.Add(x, y)
	if err != nil || got == tensor.Tensor(x) || got == tensor.Tensor(y) || x.Float32s()[0] != 1 || y.Float32s()[0] != 5 {
		t.Errorf("%v, %v; want a new tensor, and %v and %v as they were", got, err, x, y)
	}
	got, err = tensor.Add(x, y, tensor.UseUnsafe())
	if err != nil || got != tensor.Tensor(x) || !slices.Equal(x.Float32s(), []float32{6, 8, 10, 12}) {
		t.Errorf("%v, %v; want 6 8 10 12 in place", got, err)
	}
}

// TestTrain: a net learns with our engine as it does with the standard one, bit
// for bit, and with gonum's product much the same.
func TestTrain(t *testing.T) {
	defer gorgonia.Use(gonum.Implementation{})
	for _, build := range []func(batch int, engine tensor.Engine) *net{perceptron, convolutional, convolutionalOurs} {
		const batch, steps = 6, 4
		train := func(b gorgonia.BLAS, e tensor.Engine) (losses []float32) {
			gorgonia.Use(b)
			n := build(batch, e)
			defer n.vm.Close()
			for range steps {
				losses = append(losses, n.step(t))
			}
			return losses
		}
		theirs, ours := train(gonum.Implementation{}, standard), train(Implementation{}, standard)
		if engine := train(Implementation{}, Engine{}); !slices.Equal(engine, ours) {
			t.Errorf("losses %v with the engine, want %v", engine, ours)
		}
		for i := range ours {
			if diff := math.Abs(float64(ours[i] - theirs[i])); !(diff < 1e-4) {
				t.Errorf("losses %v, with gonum %v", ours, theirs)
				break
			}
		}
		if !(ours[steps-1] < ours[0]) {
			t.Errorf("losses %v do not fall", ours)
		}
	}
}
