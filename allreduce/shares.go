package allreduce

// shares is a reduce-scatter in one turn: each peer combines its own part, from
// slots, from the vectors in the arenas, or from the stages. It writes nowhere
// else.
func (b *board) shares(w *Work) error {
	n, me := b.c.size, b.c.rank
	if w.dividesEarly() {
		w.enter(w.x)
	}
	lo, hi := w.cut.part(me)
	b.c.stats.count(len(w.x.Bytes()) + (n-2)*(hi-lo)*w.x.typ.Size())
	if mine := w.x.Bytes(); len(mine) <= slotBytes {
		copy(b.slot(me), mine)
		b.post(w, nowhere)
		if err := b.meet(w); err != nil {
			return err
		}
		for rank := range n {
			b.terms.vectors[rank] = over(b.slot(rank), w.x.typ, w.x.len)
		}
		b.terms.vectors[me] = w.x
		b.combinePart(w, lo, hi)
		return nil
	}
	all, err := b.located(w)
	switch {
	case err != nil:
		return err
	case !all:
		return b.sharesStaged(w)
	}
	b.combinePart(w, lo, hi)
	return b.part()
}

// combinePart combines elements of our part, block by block.
func (b *board) combinePart(w *Work, lo, hi int) {
	step := maxBlock / w.x.typ.Size()
	for at := lo; at < hi; at += step {
		b.terms.combine(w, b.c.rank, at, min(at+step, hi), Vector{})
	}
}

// sharesStaged passes what others own to them through the stage, in so many
// steps that a step's parts for all fit one half of it. It fills the next half
// before it combines from this one, and again when all have combined from it.
func (b *board) sharesStaged(w *Work) error {
	n, me := b.c.size, b.c.rank
	size, longest := w.x.typ.Size(), 0
	for rank := range n {
		lo, hi := w.cut.part(rank)
		longest = max(longest, hi-lo)
	}
	half := (len(b.mem.Sheet(0)) - stagesAt) / 2 &^ (lineBytes - 1)
	step := min(max(longest*size/4, leastPart), half/n) &^ (lineBytes - 1) / size
	steps := (longest + step - 1) / step
	cut := func(owner, j int) (lo, hi int) {
		lo, hi = w.cut.part(owner)
		lo = min(lo+j*step, hi)
		return lo, min(lo+step, hi)
	}
	stage := func(rank, owner, j, n int) Vector {
		return over(b.mem.Sheet(rank)[stagesAt+j&1*half+owner*step*size:], w.x.typ, n)
	}
	fill := func(j int) {
		for owner := range n {
			if lo, hi := cut(owner, j); owner != me {
				copy(stage(me, owner, j, hi-lo).Bytes(), w.x.Slice(lo, hi).Bytes())
			}
		}
		b.mem.Post(wordStaged, b.progress+uint64(j+1))
	}
	for j := range steps + 1 {
		if err := b.awaitAll(wordReduced, j-1, steps); err != nil {
			return err
		}
		if j < steps {
			fill(j)
		}
		if j == 0 {
			continue
		}
		if err := b.awaitAll(wordStaged, j, steps); err != nil {
			return err
		}
		lo, hi := cut(me, j-1)
		for k := range n - 1 {
			b.terms.order[k] = stage((me+1+k)%n, me, j-1, hi-lo)
		}
		b.terms.order[n-1] = w.x.Slice(lo, hi)
		if lo < hi {
			b.terms.reduce(w, w.x.Slice(lo, hi), Vector{})
		}
		b.mem.Post(wordReduced, b.progress+uint64(j))
	}
	b.progress += uint64(steps)
	return nil
}
