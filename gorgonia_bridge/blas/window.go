package blas

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"gorgonia.org/tensor"
)

type float interface{ float32 | float64 }

// A window slides over images: rows first, columns second.
type window struct {
	kernel, pad, stride, dilation [2]int
}

func newWindow(kernel tensor.Shape, pad, stride, dilation []int) (window, error) {
	if pad == nil {
		pad = []int{0, 0}
	}
	if dilation == nil {
		dilation = []int{1, 1}
	}
	var w window
	for i, from := range [][]int{kernel, pad, stride, dilation} {
		if len(from) != 2 {
			return w, fmt.Errorf("blas: kernel %v, pad %v, stride %v, dilation %v: want two numbers each", kernel, pad, stride, dilation)
		}
		for j, x := range from {
			least := 1
			if i == 1 {
				least = 0
			}
			if x < least {
				return w, fmt.Errorf("blas: kernel %v, pad %v, stride %v, dilation %v: %d is too small", kernel, pad, stride, dilation, x)
			}
			*[]*int{&w.kernel[j], &w.pad[j], &w.stride[j], &w.dilation[j]}[i] = x
		}
	}
	return w, nil
}

// over returns how many places the window has along axis 0 or 1 of n pixels; if
// it does not fit, less than 1.
func (w window) over(axis, n int) int {
	free := n + 2*w.pad[axis] - w.dilation[axis]*(w.kernel[axis]-1) - 1
	if free < 0 {
		return 0
	}
	return free/w.stride[axis] + 1
}

// inside returns the places lo to hi of all, at which offset k of the window lies
// within n pixels along an axis, and the pixel at place lo.
func (w window) inside(axis, k, n, all int) (lo, hi, first int) {
	at := k*w.dilation[axis] - w.pad[axis] // of place 0
	if at < 0 {
		lo = (-at + w.stride[axis] - 1) / w.stride[axis]
	}
	if hi = 0; at < n {
		hi = (n-at-1)/w.stride[axis] + 1
	}
	lo, hi = min(lo, all), min(hi, all)
	return lo, max(lo, hi), at + lo*w.stride[axis]
}

// An image is channels of h×w pixels, and the places of a window over them.
type image struct {
	channels, h, w int
	oh, ow         int
}

func (w window) image(s tensor.Shape) image {
	return image{s[1], s[2], s[3], w.over(0, s[2]), w.over(1, s[3])}
}

func (m image) pixels() int { return m.channels * m.h * m.w }
func (m image) places() int { return m.oh * m.ow }

// rows calls f for every run of pixels of an image that one offset of the window
// meets at the places lo to hi of one row: k is the number of channel and offset.
// For rows and ends outside of the image, it calls zero.
func (w window) rows(m image, f func(pixel, k, place, n int), zero func(k, place, n int)) {
	k := 0
	for c := range m.channels {
		for ky := range w.kernel[0] {
			top, bottom, y := w.inside(0, ky, m.h, m.oh)
			for kx := range w.kernel[1] {
				left, right, x := w.inside(1, kx, m.w, m.ow)
				zero(k, 0, top*m.ow)
				zero(k, bottom*m.ow, (m.oh-bottom)*m.ow)
				for oy := top; oy < bottom; oy++ {
					at := oy * m.ow
					zero(k, at, left)
					zero(k, at+right, m.ow-right)
					if right > left {
						f((c*m.h+y+(oy-top)*w.stride[0])*m.w+x, k, at+left, right-left)
					}
				}
				k++
			}
		}
	}
}

// spreadOut writes to cols, a row for each channel and offset of the window, what
// it meets at each place.
func spreadOut[T float](w window, m image, cols, pixels []T) {
	places, step := m.places(), w.stride[1]
	if w.keeps(m) {
		w.shifts(m, func(k, channel, shift, lo, hi, left, right int) {
			to := cols[k*places:][:places]
			clear(to[:lo])
			copy(to[lo:hi], pixels[channel+lo+shift:])
			clear(to[hi:])
			clearEdges(to, m.ow, left, right)
		})
		return
	}
	w.rows(m, func(pixel, k, place, n int) {
		to, from := cols[k*places+place:][:n], pixels[pixel:]
		for i := range to {
			to[i] = from[i*step]
		}
	}, func(k, place, n int) { clear(cols[k*places+place:][:n]) })
}

// addUp adds what spreadOut would write, to where it would come from. It may
// overwrite what would come from nowhere.
func addUp[T float](w window, m image, pixels, cols []T, add func(dst, x, y []T)) {
	places, step := m.places(), w.stride[1]
	if w.keeps(m) {
		w.shifts(m, func(k, channel, shift, lo, hi, left, right int) {
			from := cols[k*places:][:places]
			clearEdges(from, m.ow, left, right)
			to := pixels[channel+lo+shift:][:hi-lo]
			add(to, to, from[lo:hi])
		})
		return
	}
	w.rows(m, func(pixel, k, place, n int) {
		from, to := cols[k*places+place:][:n], pixels[pixel:]
		for i, x := range from {
			to[i*step] += x
		}
	}, func(int, int, int) {})
}

// keeps reports whether there is a place for each pixel. Then what an offset of
// the window meets is the image itself, moved; only what has gone round from one
// row to the next does not belong there.
func (w window) keeps(m image) bool {
	return w.stride == [2]int{1, 1} && m.oh == m.h && m.ow == m.w
}

// shifts calls f for every channel and offset: k is their number, channel where
// the channel begins. Places lo to hi meet the pixels that are shift further on,
// if their column is left to right.
func (w window) shifts(m image, f func(k, channel, shift, lo, hi, left, right int)) {
	k, places := 0, m.places()
	for c := range m.channels {
		for ky := range w.kernel[0] {
			for kx := range w.kernel[1] {
				shift := (ky*w.dilation[0]-w.pad[0])*m.w + kx*w.dilation[1] - w.pad[1]
				lo := min(max(0, -shift), places)
				hi := max(lo, min(places, places-shift))
				left, right, _ := w.inside(1, kx, m.w, m.ow)
				if lo == hi {
					shift = 0 // it meets nothing, wherever that is
				}
				f(k, c*places, shift, lo, hi, left, right)
				k++
			}
		}
	}
}

// clearEdges clears the columns before left and from right on.
func clearEdges[T float](x []T, width, left, right int) {
	if left == 0 && right == width {
		return
	}
	for ; len(x) > 0; x = x[width:] {
		for i := range left {
			x[i] = 0
		}
		for i := right; i < width; i++ {
			x[i] = 0
		}
	}
}

// each calls f for 0 to n-1, on as many threads as there are.
func each(n int, f func(i int)) {
	threads := min(n, runtime.GOMAXPROCS(0))
	if threads == 1 {
		for i := range n {
			f(i)
		}
		return
	}
	var next atomic.Int64
	var all sync.WaitGroup
	for range threads {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				f(i)
			}
		})
	}
	all.Wait()
}

// contiguous returns the elements of a value in row-major order. It does not ask
// the tensor whether they lie so: that only knows about gaps.
func contiguous[T float](v *tensor.Dense) []T {
	data, shape, strides := v.Data().([]T), v.Shape(), v.Strides()
	if inOrder(shape, strides) {
		return data[:shape.TotalSize()]
	}
	ordered := make([]T, shape.TotalSize())
	permute(ordered, data, shape, strides, turn[T])
	return ordered
}
