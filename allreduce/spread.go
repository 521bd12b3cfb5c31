package allreduce

import "github.com/ringrun/ringrun/allreduce/internal/simd"

// spread is an all-gather or a broadcast in one turn: ranges of the vector have
// owners, from whom all others copy them. They are in slots, in the arenas, or go
// through the stages.
func (b *board) spread(w *Work) error {
	me := b.c.rank
	size, most := w.x.typ.Size(), 0
	for rank := range b.c.size {
		lo, hi := w.owned(rank)
		most = max(most, (hi-lo)*size)
	}
	lo, hi := w.owned(me)
	b.c.stats.count(len(w.x.Bytes()) - (hi-lo)*size)
	if most <= slotBytes {
		copy(b.slot(me), w.x.Slice(lo, hi).Bytes())
		b.post(w, nowhere)
		if err := b.meet(w); err != nil {
			return err
		}
		for rank := range b.c.size {
			if lo, hi := w.owned(rank); rank != me {
				copy(w.x.Slice(lo, hi).Bytes(), b.slot(rank))
			}
		}
		return nil
	}
	all, err := b.located(w)
	switch {
	case err != nil:
		return err
	case !all:
		return b.spreadStaged(w, most)
	}
	for d := 1; d < b.c.size; d++ {
		rank := (me + d) % b.c.size
		lo, hi := w.owned(rank)
		b.fetchFrom(w, b.terms.vectors[rank], lo, hi)
	}
	return b.part()
}

// owned returns the elements that a rank gives to all others.
func (w *Work) owned(rank int) (lo, hi int) {
	switch {
	case w.kind == allGather:
		return w.cut.part(rank)
	case rank == w.root:
		return 0, w.x.len
	}
	return 0, 0
}

// located lets the peers meet and tell where their vectors are. It reports whether
// all are in the arenas; then the terms are these vectors.
func (b *board) located(w *Work) (all bool, err error) {
	b.post(w, b.place(w.x))
	if err := b.meet(w); err != nil {
		return false, err
	}
	for rank := range b.c.size {
		place := b.posts[rank][b.turn&1].place
		if place == nowhere {
			return false, nil
		}
		if b.terms.vectors[rank], err = b.at(rank, place, w); err != nil {
			return false, err
		}
	}
	b.terms.vectors[b.c.rank] = w.x
	return true, nil
}

// fetchFrom copies elements from the vector of another, in parts that do not
// keep a collection of garbage waiting.
func (b *board) fetchFrom(w *Work, from Vector, lo, hi int) {
	step := maxBlock / w.x.typ.Size()
	for at := lo; at < hi; at += step {
		end := min(at+step, hi)
		to, from := w.x.Slice(at, end).Bytes(), from.Slice(at, end).Bytes()
		if w.bytes >= pastBytes {
			simd.Stream(to, from)
		} else {
			copy(to, from)
		}
	}
}

// leastPart is the least that is worth a wait, which costs a turn of the processor
// where peers have not one each.
const leastPart = 64 << 10

// spreadStaged sends what each owns through its stage, in parts, as staged does:
// it fills the next part before it copies this one. A stage is filled again two
// parts later, when all have copied what was there.
func (b *board) spreadStaged(w *Work, most int) error {
	size := w.x.typ.Size()
	half := (len(b.mem.Sheet(0)) - stagesAt) / 2 &^ (lineBytes - 1)
	step := min(max(most/4, leastPart)&^(lineBytes-1), half) / size
	parts := (most/size + step - 1) / step
	cut := func(rank, j int) (x, stage Vector) {
		lo, hi := w.owned(rank)
		lo = min(lo+j*step, hi)
		hi = min(lo+step, hi)
		return w.x.Slice(lo, hi), over(b.mem.Sheet(rank)[stagesAt+j&1*half:], w.x.typ, hi-lo)
	}
	for j := range parts + 1 {
		if j < parts {
			if err := b.awaitAll(wordReduced, j-1, parts); err != nil {
				return err
			}
			mine, stage := cut(b.c.rank, j)
			copy(stage.Bytes(), mine.Bytes())
			b.mem.Post(wordStaged, b.progress+uint64(j+1))
		}
		if j == 0 {
			continue
		}
		for d := 1; d < b.c.size; d++ {
			rank := (b.c.rank + d) % b.c.size
			to, from := cut(rank, j-1)
			if to.len == 0 {
				continue
			}
			if _, err := b.await(rank, wordStaged, b.progress+uint64(j), b.progress+uint64(parts)); err != nil {
				return err
			}
			copy(to.Bytes(), from.Bytes())
		}
		b.mem.Post(wordReduced, b.progress+uint64(j))
	}
	b.progress += uint64(parts)
	return nil
}

// awaitAll waits until all others have come so far in a turn of so many parts.
func (b *board) awaitAll(word, done, parts int) error {
	if done <= 0 {
		return nil
	}
	for d := 1; d < b.c.size; d++ {
		rank := (b.c.rank + d) % b.c.size
		if _, err := b.await(rank, word, b.progress+uint64(done), b.progress+uint64(parts)); err != nil {
			return err
		}
	}
	return nil
}
