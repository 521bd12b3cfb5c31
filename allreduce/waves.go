package allreduce

// Long legs travel in pieces, and not leg after leg, but in waves: the first
// pieces of the first leg, then the second leg's first piece as soon as it is
// there, and so on, always so many pieces behind the leg before:
//
//	leg 0   0 1 2 3 4 5 …           of 2 pieces ahead, in columns from the
//	leg 1       0 1 2 3 4 …         bottom up: 0.0 0.1 1.0 0.2 1.1 0.3 2.0 1.2
//	leg 2           0 1 2 …         0.4 …
//
// So what was merged is sent while it is in the cache, and what has been sent is
// replaced while it is there too: a vector that is larger than the cache passes
// through it once, not once in every step. All peers have the same order on every
// link; and every piece is sent after one that it depends on has been received
// from a smaller column, so none waits for another in a circle.
type waves struct {
	pieces, legs int // how many there are
	leg, piece   int // to come
}

const (
	// waveBytes is the size of a piece, but it has no more than waveFrames.
	waveBytes  = 512 << 10
	waveFrames = 16
	// waveAhead is how many pieces of one leg are sent before the next leg begins.
	waveAhead = 2
)

// next goes on to the piece after, and returns false at the end.
func (v *waves) next() bool {
	column := v.leg*waveAhead + v.piece
	for leg := v.leg - 1; ; leg-- {
		if leg < 0 {
			column++
			leg = min(v.legs-1, column/waveAhead)
		}
		piece := column - leg*waveAhead
		if piece < v.pieces {
			v.leg, v.piece = leg, piece
			return true
		}
		if leg == v.legs-1 { // and the legs below are further on
			return false
		}
	}
}
