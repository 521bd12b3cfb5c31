package allreduce

import "github.com/ringrun/ringrun/ring"

// staged is an all-reduce of vectors that others cannot read. It goes through
// the stages in parts, each of which has a block of every chunk. For each part a
// peer
//
//	fills    its stage with the blocks that others own,
//	reduces  the block that it owns, from the stages of all, into the vector and
//	         into the place of that block in its own stage,
//	copies   the other blocks from the stages of their owners.
//
// It fills the next part before it reduces this one, so what it waits for has
// mostly come. A stage is filled again two parts later: who has filled the next
// part has copied all it needs from the one before.
func (b *board) staged(w *Work) error {
	s := b.newStaging(w)
	b.stager.begin(b.turn, w.bytes)
	defer b.stager.end()
	for j := 0; j <= s.parts; j++ {
		if j < s.parts {
			s.fill(j)
		}
		if j == 0 {
			continue
		}
		if err := s.reduce(j - 1); err != nil {
			return err
		}
		if err := s.copy(j - 1); err != nil {
			return err
		}
	}
	b.progress += uint64(s.parts)
	return nil
}

// staging is one all-reduce through the stages.
type staging struct {
	b     *board
	w     *Work
	block int // elements of a chunk in one part
	parts int
	bytes int // of a stage
}

func (b *board) newStaging(w *Work) staging {
	n := b.c.size
	s := staging{b: b, w: w, bytes: (len(b.mem.Sheet(0)) - stagesAt) / 2}
	chunk := w.bytes / n
	bytes := min(max(chunk, minStaged), s.bytes/n) &^ (lineBytes - 1)
	s.block = bytes / w.x.typ.Size()
	s.parts = blocks(w, 0, s.block)
	return s
}

// minStaged is the least that is worth a part of its own.
const minStaged = 8 << 10

// cut returns the bounds of block j of a rank's chunk.
func (s *staging) cut(j, rank int) (lo, hi int) {
	lo, hi = ring.Chunk(s.w.x.len, s.b.c.size, rank)
	lo = min(lo+j*s.block, hi)
	return lo, min(lo+s.block, hi)
}

// place returns n elements in the stage of a peer, where the block of the
// owner's chunk is.
func (s *staging) place(rank, j, owner, n int) Vector {
	typ := s.w.x.typ
	at := stagesAt + j&1*s.bytes + owner*s.block*typ.Size()
	return over(s.b.mem.Sheet(rank)[at:], typ, n)
}

func (s *staging) fill(j int) {
	b := s.b
	n, me := b.c.size, b.c.rank
	for d := 1; d < n; d++ {
		owner := (me + d) % n
		if lo, hi := s.cut(j, owner); lo < hi {
			b.stager.copy(s.place(me, j, owner, hi-lo).Bytes(), s.w.x.Slice(lo, hi).Bytes())
		}
	}
	b.mem.Post(wordStaged, b.progress+uint64(j+1))
}

func (s *staging) reduce(j int) error {
	b := s.b
	n, me := b.c.size, b.c.rank
	for d := 1; d < n; d++ {
		if err := s.await((me+d)%n, wordStaged, j); err != nil {
			return err
		}
	}
	if lo, hi := s.cut(j, me); lo < hi {
		for k := range n - 1 {
			b.terms.order[k] = s.place((me+1+k)%n, j, me, hi-lo)
		}
		mine := s.w.x.Slice(lo, hi)
		b.terms.order[n-1] = mine
		b.terms.reduce(s.w, mine, s.place(me, j, me, hi-lo))
	}
	b.mem.Post(wordReduced, b.progress+uint64(j+1))
	return nil
}

func (s *staging) copy(j int) error {
	b := s.b
	n, me := b.c.size, b.c.rank
	for d := 1; d < n; d++ {
		owner := (me + d) % n
		if err := s.await(owner, wordReduced, j); err != nil {
			return err
		}
		if lo, hi := s.cut(j, owner); lo < hi {
			copy(s.w.x.Slice(lo, hi).Bytes(), s.place(owner, j, owner, hi-lo).Bytes())
		}
	}
	return nil
}

// await waits until a peer has come so far with part j.
func (s *staging) await(rank, word, j int) error {
	_, err := s.b.await(rank, word, s.b.progress+uint64(j+1), s.b.progress+uint64(s.parts))
	return err
}
