package blas

import "gonum.org/v1/gonum/blas"

// A matrix has element (i, j) at data[i*row + j*col]. One of row and col is 1.
type matrix struct {
	data     []float32
	row, col int
}

func operand(data []float32, ld int, t blas.Transpose) matrix {
	if t == blas.NoTrans {
		return matrix{data, ld, 1}
	}
	return matrix{data, 1, ld}
}

func (x matrix) turned() matrix { return matrix{x.data, x.col, x.row} }

// from returns what is right of and below element (i, j).
func (x matrix) from(i, j int) matrix {
	return matrix{x.data[i*x.row+j*x.col:], x.row, x.col}
}

// A product is c = (scaleA·a)·(scaleB·b) + beta·c, with m×k times k×n elements.
type product struct {
	kern           *kernel
	m, n, k        int
	a, b, c        matrix
	scaleA, scaleB float32
	beta           float32
	dots           bool // one row times columns that lie in one piece each
}

// A block of A, of down×depth elements, is packed to stay in the second level of
// cache; a block of B, of depth×across, in the second or third. The depth decides
// how a sum is split, so it is the same for all kernels.
const (
	depth  = 256
	across = 1024
	down   = 168 // a multiple of every kernel's rows
)

// orient turns the product around, into Cᵀ = Bᵀ·Aᵀ, if that suits the kernel
// better: its tiles are wide, and fewer rows cost less, while fewer columns do
// not. What is decided here must not depend on the number of threads, and changes
// no bit of the result, except for dots, which do not depend on the kernel either.
func (p *product) orient() {
	if p.dots = p.m == 1 && p.b.row == 1; p.dots {
		return
	}
	kept, turned := p.kern.cost(p.m, p.n), p.kern.cost(p.n, p.m)
	const transposing = 64 // an element of C, in multiplications
	dots := p.n == 1 && p.a.col == 1
	if dots || (kept-turned)*p.k > transposing*p.m*p.n {
		p.m, p.n = p.n, p.m
		p.a, p.b, p.c = p.b.turned(), p.a.turned(), p.c.turned()
		p.scaleA, p.scaleB = p.scaleB, p.scaleA
	}
	p.dots = dots
}

// scaleC is what remains of a product by nothing.
func (p *product) scaleC() {
	if p.beta == 1 {
		return
	}
	for i := range p.m {
		row := p.c.data[i*p.c.row:][:(p.n-1)*p.c.col+1]
		for j := 0; j < len(row); j += p.c.col {
			if p.beta == 0 {
				row[j] = 0
			} else {
				row[j] *= p.beta
			}
		}
	}
}

// compute does the work on one thread.
func (p *product) compute(w *workspace) {
	if p.dots {
		p.computeDots(w)
		return
	}
	if p.beta != 0 {
		p.scaleC()
	}
	deep := even(p.k, depth)
	for j := 0; j < p.n; j += across {
		n := min(across, p.n-j)
		for l := 0; l < p.k; l += deep {
			k := min(deep, p.k-l)
			b := p.panel(w, l, j, k, n)
			for i := 0; i < p.m; i += down {
				m := min(down, p.m-i)
				p.kern.left.pack(w.a[:], p.a.from(i, l).turned(), k, m, p.scaleA)
				p.block(w, b, i, j, m, n, k, l > 0 || p.beta != 0)
			}
		}
	}
}

// even returns the size of blocks, at most most, that divides n evenly: by eight,
// as packing does.
func even(n, most int) int {
	blocks := (n + most - 1) / most
	return (n + 8*blocks - 1) / (8 * blocks) * 8
}

// A panel is a block of B as tiles read it: packed, or, if few of them do, where
// it lies, except for its last columns, which are fewer than a tile's.
type panel struct {
	direct matrix // if not nil
	packed []float32
}

func (p *product) panel(w *workspace, l, j, k, n int) panel {
	b := p.b.from(l, j)
	kern := p.kern
	if p.b.col != 1 || p.scaleB != 1 || p.m > kern.unpacked {
		kern.right.pack(w.b[:], b, k, n, p.scaleB)
		return panel{packed: w.b[:]}
	}
	if whole := n - n%kern.right.width; whole < n {
		kern.right.pack(w.b[whole*k:], b.from(0, whole), k, n-whole, 1)
	}
	return panel{direct: b, packed: w.b[:]}
}

// strip returns the columns from j on, with the distance between its rows.
func (b panel) strip(j, n, k, width int) ([]float32, int) {
	if b.direct.data != nil && n-j >= width {
		return b.direct.data[j:], b.direct.row
	}
	return b.packed[j*k:], width
}

// block multiplies a packed block of A by a block of B.
func (p *product) block(w *workspace, b panel, i, j, m, n, k int, add bool) {
	high, wide := p.kern.left.width, p.kern.right.width
	for jj := 0; jj < n; jj += wide {
		strip, step := b.strip(jj, n, k, wide)
		cols := min(wide, n-jj)
		for ii := 0; ii < m; ii += high {
			rows := min(high, m-ii)
			tile, a := p.kern.tiles[rows], w.a[ii*k:]
			c := p.c.from(i+ii, j+jj)
			if cols == wide && c.col == 1 {
				tile(k, a, strip, step, c.data, c.row, add)
				continue
			}
			tile(k, a, strip, step, w.tile[:], wide, false)
			c.put(w.tile[:], wide, rows, cols, add)
		}
	}
}

// put stores a tile, of which the rows have so much space, or adds it.
func (x matrix) put(tile []float32, space, rows, cols int, add bool) {
	for i := range rows {
		from := tile[i*space:][:cols]
		to := x.data[i*x.row:][:(cols-1)*x.col+1]
		for j, v := range from {
			if add {
				v += to[j*x.col]
			}
			to[j*x.col] = v
		}
	}
}

// computeDots multiplies one row by each column.
func (p *product) computeDots(w *workspace) {
	for l := 0; l < p.k; l += len(w.a) {
		k := min(len(w.a), p.k-l)
		x := w.a[:k]
		a := p.a.data[l*p.a.col:]
		for i := range x {
			x[i] = p.scaleA * a[i*p.a.col]
		}
		for j := range p.n {
			sum := p.scaleB * p.kern.dot(x, p.b.data[j*p.b.col+l:][:k])
			c := &p.c.data[j*p.c.col]
			switch {
			case l > 0:
				sum += *c
			case p.beta != 0:
				sum += p.beta * *c
			}
			*c = sum
		}
	}
}
