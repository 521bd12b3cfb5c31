package bench

import "fmt"

// conv collects the layers of a convolutional network, keeping the size of the
// picture, which decides how often a kernel is applied.
type conv struct {
	layers []Layer
	h, w   int
}

// window is the area under a convolution: its kernel, stride and padding.
type window struct{ kh, kw, stride, ph, pw int }

func square(k, stride, pad int) window { return window{k, k, stride, pad, pad} }

func (c *conv) add(name string, work int, tensors ...Tensor) {
	c.layers = append(c.layers, Layer{Name: name, Tensors: tensors, Work: float64(work)})
}

// slide moves a window over the picture.
func (c *conv) slide(w window) {
	c.h = (c.h+2*w.ph-w.kh)/w.stride + 1
	c.w = (c.w+2*w.pw-w.kw)/w.stride + 1
}

// normed adds a convolution without bias and its batch normalisation.
func (c *conv) normed(name string, in, out int, w window) {
	c.slide(w)
	kernel, pixels := in*out*w.kh*w.kw, c.h*c.w
	c.add(name, kernel*pixels, Tensor{"weight", kernel})
	c.add(name+".norm", out*pixels, Tensor{"weight", out}, Tensor{"bias", out})
}

// aside runs f, which adds a branch, and puts the size of the picture back.
func (c *conv) aside(f func()) {
	h, w := c.h, c.w
	f()
	c.h, c.w = h, w
}

func (c *conv) dense(name string, in, out int) {
	c.add(name, in*out, Tensor{"weight", in * out}, Tensor{"bias", out})
}

// resnet returns the bottleneck residual network with so many blocks in each of
// its four stages, for 224x224 pictures (He et al., 2015; the stride is in the
// 3x3 convolution).
func resnet(blocks ...int) []Layer {
	c := &conv{h: 224, w: 224}
	c.normed("stem", 3, 64, square(7, 2, 3))
	c.slide(square(3, 2, 1))
	in := 64
	for stage, n := range blocks {
		mid := 64 << stage
		for b := range n {
			stride := 1
			if b == 0 && stage > 0 {
				stride = 2
			}
			name := fmt.Sprintf("stage%d.block%d", stage+1, b)
			if b == 0 {
				c.aside(func() { c.normed(name+".shortcut", in, 4*mid, square(1, stride, 0)) })
			}
			c.normed(name+".conv1", in, mid, square(1, 1, 0))
			c.normed(name+".conv2", mid, mid, square(3, stride, 1))
			c.normed(name+".conv3", mid, 4*mid, square(1, 1, 0))
			in = 4 * mid
		}
	}
	c.dense("classifier", in, 1000)
	return c.layers
}

// vgg16 returns configuration D of Simonyan and Zisserman (2014), for 224x224
// pictures.
func vgg16() []Layer {
	c := &conv{h: 224, w: 224}
	in := 3
	for stage, widths := range [][]int{{64, 64}, {128, 128}, {256, 256, 256}, {512, 512, 512}, {512, 512, 512}} {
		for i, out := range widths {
			c.slide(square(3, 1, 1))
			kernel := in * out * 9
			c.add(fmt.Sprintf("conv%d_%d", stage+1, i+1), kernel*c.h*c.w,
				Tensor{"weight", kernel}, Tensor{"bias", out})
			in = out
		}
		c.slide(square(2, 2, 0))
	}
	c.dense("dense1", in*c.h*c.w, 4096)
	c.dense("dense2", 4096, 4096)
	c.dense("classifier", 4096, 1000)
	return c.layers
}
