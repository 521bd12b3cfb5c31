package blas

// A packer lays a block out in strips, in the order in which tiles read them: of
// each of k lines in turn, width elements.
//
//	            strip 0         strip 1
//	line 0   | 0  1  2  3 |  4  5  6  7 | 8 …
//	line 1   | …
//
//	packed   | line 0 of strip 0 | line 1 of strip 0 | … | line 0 of strip 1 | …
//
// For the right operand, a line is a row of B, and for the left one a column of A.
type packer struct {
	width int
	// copy takes k lines, ld elements apart, of which the elements lie together.
	copy func(k int, src []float32, ld int, dst []float32, scale float32)
	// interleave takes width columns, ld elements apart, of k elements that lie
	// together.
	interleave func(k int, src []float32, ld int, dst []float32, scale float32)
}

// pack packs k lines of n elements, scaled. The last strip is filled up with zeros.
func (p *packer) pack(dst []float32, src matrix, k, n int, scale float32) {
	for j := 0; j < n; j += p.width {
		to, from := dst[j*k:][:p.width*k], src.from(0, j)
		switch {
		case n-j < p.width:
			packEdge(to, from, p.width, k, n-j, scale)
		case src.col == 1:
			p.copy(k, from.data, src.row, to, scale)
		default:
			p.interleave(k, from.data, src.col, to, scale)
		}
	}
}

func packEdge(dst []float32, src matrix, width, k, n int, scale float32) {
	for j := range width {
		if j >= n {
			for i := range k {
				dst[i*width+j] = 0
			}
			continue
		}
		line := src.data[j*src.col:]
		for i := range k {
			dst[i*width+j] = scale * line[i*src.row]
		}
	}
}
