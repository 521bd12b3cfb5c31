package bench

import "fmt"

// link is one convolution of a branch: its width and window.
type link struct {
	out int
	w   window
}

// Windows that keep the size of the picture, and the one that halves it.
var (
	dot  = square(1, 1, 0)
	box  = square(3, 1, 1)
	row7 = window{1, 7, 1, 0, 3}
	col7 = window{7, 1, 1, 3, 0}
	row3 = window{1, 3, 1, 0, 1}
	col3 = window{3, 1, 1, 1, 0}
	half = square(3, 2, 0)
)

// chain adds convolutions one after another and returns the width at the end.
func (c *conv) chain(name string, in int, links ...link) int {
	for i, l := range links {
		c.normed(fmt.Sprintf("%s.%d", name, i), in, l.out, l.w)
		in = l.out
	}
	return in
}

// branches adds chains side by side, all on the same input, and returns the sum
// of their widths. All keep the size of the picture.
func (c *conv) branches(name string, in int, chains ...[]link) int {
	sum := 0
	for i, links := range chains {
		c.aside(func() { sum += c.chain(fmt.Sprintf("%s.branch%d", name, i), in, links...) })
	}
	return sum
}

// halved is branches for chains that end in the window half, beside a pooling
// that does the same and keeps the width.
func (c *conv) halved(name string, in int, chains ...[]link) int {
	out := c.branches(name, in, chains...) + in
	c.slide(half)
	return out
}

// inception3 returns Inception v3 (Szegedy et al., 2015) for 299x299 pictures,
// without the auxiliary classifier.
func inception3() []Layer {
	c := &conv{h: 299, w: 299}
	in := c.chain("stem", 3, link{32, half}, link{32, square(3, 1, 0)}, link{64, box})
	c.slide(half)
	in = c.chain("stem2", in, link{80, dot}, link{192, square(3, 1, 0)})
	c.slide(half)
	for i, pool := range []int{32, 64, 64} {
		in = c.branches(fmt.Sprintf("a%d", i), in,
			[]link{{64, dot}},
			[]link{{48, dot}, {64, square(5, 1, 2)}},
			[]link{{64, dot}, {96, box}, {96, box}},
			[]link{{pool, dot}})
	}
	in = c.halved("b", in,
		[]link{{384, half}},
		[]link{{64, dot}, {96, box}, {96, half}})
	for i, mid := range []int{128, 160, 160, 192} {
		in = c.branches(fmt.Sprintf("c%d", i), in,
			[]link{{192, dot}},
			[]link{{mid, dot}, {mid, row7}, {192, col7}},
			[]link{{mid, dot}, {mid, col7}, {mid, row7}, {mid, col7}, {192, row7}},
			[]link{{192, dot}})
	}
	in = c.halved("d", in,
		[]link{{192, dot}, {320, half}},
		[]link{{192, dot}, {192, row7}, {192, col7}, {192, half}})
	for i := range 2 {
		in = c.fan(fmt.Sprintf("e%d", i), in)
	}
	c.dense("classifier", in, 1000)
	return c.layers
}

// fan adds the last kind of module, two of whose branches fork into a row and a
// column at their ends.
func (c *conv) fan(name string, in int) int {
	out := c.branches(name, in, []link{{320, dot}}, []link{{192, dot}})
	for i, stem := range [][]link{{{384, dot}}, {{448, dot}, {384, box}}} {
		fork := fmt.Sprintf("%s.fork%d", name, i)
		mid := c.chain(fork, in, stem...)
		out += c.branches(fork, mid, []link{{384, row3}}, []link{{384, col3}})
	}
	return out
}
