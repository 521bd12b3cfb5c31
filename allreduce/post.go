package allreduce

import (
	"fmt"
	"unsafe"

	"github.com/ringrun/ringrun/allreduce/internal/simd"
	"github.com/ringrun/ringrun/ring"
)

// reduce is an all-reduce in one turn.
func (b *board) reduce(w *Work) error {
	n := b.c.size
	if w.scale != nil && w.scale.Before != 1 || w.dividesEarly() {
		w.inPlace()
		w.enter(w.x)
	}
	mine := w.source().Bytes()
	if len(mine) > slotBytes {
		return b.large(w)
	}
	slot := b.posts[b.c.rank][b.turn&1].words[:]
	if len(mine) > whisperBytes {
		slot = b.slot(b.c.rank)
	}
	copy(slot, mine)
	b.post(w, nowhere)
	b.prepare(len(mine))
	if err := b.meet(w); err != nil {
		return err
	}
	for rank := range n {
		s := b.posts[rank][b.turn&1].words[:]
		if len(mine) > whisperBytes {
			s = b.slot(rank)
		}
		b.terms.vectors[rank] = over(s, w.x.typ, w.x.len)
	}
	b.terms.vectors[b.c.rank] = w.source()
	for i := range n {
		lo, hi := ring.Chunk(w.x.len, n, i)
		if lo < hi {
			b.terms.combine(w, i, lo, hi, Vector{})
		}
	}
	b.c.stats.count((n - 1) * len(mine))
	return nil
}

func (b *board) slot(rank int) []byte {
	at := slotsAt + int(b.turn&1)*slotBytes
	return b.mem.Sheet(rank)[at : at+slotBytes]
}

// prepareBytes is the most that is taken back before a turn.
const prepareBytes = 2 << 10

// prepare takes back, while we wait in this turn, the lines that we shall write
// first in the next one. Others have read them in the turn before this one.
func (b *board) prepare(bytes int) {
	mine, next := b.mem.Sheet(b.c.rank), int(b.turn+1)&1
	simd.Claim(mine[next*postBytes : (next+1)*postBytes])
	if bytes > whisperBytes {
		at := slotsAt + next*slotBytes
		simd.Claim(mine[at : at+min(bytes, prepareBytes)])
	}
}

// large is an all-reduce of a vector that does not fit a slot.
func (b *board) large(w *Work) error {
	n := b.c.size
	result := b.place(w.x)
	if result == nowhere {
		w.inPlace()
	}
	b.posts[b.c.rank][b.turn&1].setResult(result)
	b.post(w, b.place(w.source()))
	if err := b.meet(w); err != nil {
		return err
	}
	lo, hi := ring.Chunk(w.x.len, n, b.c.rank)
	chunk := (hi - lo) * w.x.typ.Size()
	b.c.stats.count(len(w.x.Bytes()) + (n-2)*chunk)
	for rank := range n {
		p := b.posts[rank][b.turn&1]
		place, result := p.place, p.result()
		if place == nowhere || result == nowhere {
			w.inPlace()
			return b.staged(w)
		}
		var err error
		if b.terms.vectors[rank], err = b.at(rank, place, w); err == nil {
			b.results[rank], err = b.at(rank, result, w)
		}
		if err != nil {
			return err
		}
	}
	b.terms.vectors[b.c.rank], b.results[b.c.rank] = w.source(), w.x
	return b.direct(w)
}

// place returns where in our arena a vector is.
func (b *board) place(x Vector) uint64 {
	arena := b.mem.Arena(b.c.rank)
	p, begin := uintptr(x.at), uintptr(unsafe.Pointer(unsafe.SliceData(arena)))
	if p < begin || p-begin > uintptr(len(arena)) || uintptr(len(x.Bytes())) > uintptr(len(arena))-(p-begin) {
		return nowhere
	}
	return uint64(p - begin)
}

// at returns the vector at a place in the arena of a rank, like the work's.
func (b *board) at(rank int, place uint64, w *Work) (Vector, error) {
	arena := b.mem.Arena(rank)
	size := uint64(len(w.x.Bytes()))
	if place > uint64(len(arena)) || size > uint64(len(arena))-place || place%uint64(w.x.typ.Size()) != 0 {
		return Vector{}, fmt.Errorf("%s has its vector at %d in an arena of %d bytes", b.c.peers[rank], place, len(arena))
	}
	return over(arena[place:], w.x.typ, w.x.len), nil
}

// post begins the turn.
func (b *board) post(w *Work, place uint64) {
	p := b.posts[b.c.rank][b.turn&1]
	p.what, p.count, p.name, p.place = w.what(), uint64(w.x.len), w.name(), place
	b.mem.Post(int(b.turn&1)*postBytes, b.turn)
}

func (w *Work) what() uint64 { return uint64(w.kind+w.op) | uint64(w.x.typ)<<8 }
func (w *Work) name() uint64 { return uint64(w.seq) | uint64(w.root)<<32 | uint64(w.form)<<48 }

// meet waits for the posts of all others, who must mean the same.
func (b *board) meet(w *Work) error {
	n := b.c.size
	what, count, name := w.what(), uint64(w.x.len), w.name()
	for d := 1; d < n; d++ {
		rank := b.c.rank - d // first the one before us, as everywhere
		if rank < 0 {
			rank += n
		}
		if _, err := b.await(rank, int(b.turn&1)*postBytes, b.turn, b.turn); err != nil {
			return err
		}
		p := b.posts[rank][b.turn&1]
		if p.what != what || p.count != count || p.name != name {
			b.differ(w, rank, *p)
			return errTurn
		}
	}
	if b.turn == 1 {
		b.count()
	}
	return nil
}

// count settles, after the first turn has begun everywhere, whether there are
// processors for all: the same on all peers.
func (b *board) count() {
	for rank := range b.c.size {
		if b.mem.Peek(rank, wordCrowd) != 0 {
			b.crowded = true
		}
	}
}

// differ opens a dispute with a peer whose post is not like ours.
func (b *board) differ(w *Work, rank int, p post) {
	h := ring.Header{Op: uint8(p.what), Type: uint8(p.what >> 8), Count: p.count, Root: uint32(p.name >> 32), Seq: uint32(p.name)}
	b.c.dispute(w, h, rank)
}
