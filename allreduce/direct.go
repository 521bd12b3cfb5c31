package allreduce

import (
	"github.com/ringrun/ringrun/allreduce/internal/simd"
	"github.com/ringrun/ringrun/ring"
)

// direct is an all-reduce of vectors that all lie in the arenas, as do the results:
// in the same place, or elsewhere. Each peer combines its chunk, block by block, from the memory of all, and copies the
// other chunks from their owners as their blocks are complete. A block of ours
// is overwritten only when its owner has combined it, and nobody else reads it.
// In the end all wait for each other: what is done with the vector then, others
// must not see. Where peers outnumber processors that wait costs more than some
// bytes, and a chunk that fits is written to the stage of its owner as well, and
// copied from there, which needs no wait: who takes the next turn has copied it.
//
// What a peer copies is still in the caches of the owner, and what it overwrites
// has just been read by it.
func (b *board) direct(w *Work) error {
	n, me := b.c.size, b.c.rank
	block := blockLen(w)
	lo, hi := ring.Chunk(w.x.len, n, me)
	b.borrow(w)
	clear(b.copied)
	b.taker.begin(b.turn, w.bytes)
	defer b.taker.end()
	for k := 0; lo+k*block < hi; k++ {
		at := lo + k*block
		simd.Claim(w.x.Slice(at, min(at+block, hi)).Bytes())
		end := min(at+block, hi)
		var also Vector
		if b.borrowed {
			also = b.results[me].Slice(at-lo, end-lo)
		}
		b.terms.combine(w, me, at, end, also)
		if b.borrowed {
			if err := b.complete(); err != nil {
				return err
			}
		}
		b.mem.Post(wordReduced, b.progress+uint64(k+1))
		for d := 1; d < n; d++ {
			rank := (me + d) % n
			if err := b.fetch(w, rank, block, b.mem.Peek(rank, wordReduced)); err != nil {
				return err
			}
		}
	}
	for d := 1; d < n; d++ {
		rank := (me + d) % n
		for b.copied[rank] < blocks(w, rank, block) {
			v, err := b.await(rank, wordReduced, b.progress+uint64(b.copied[rank])+1, b.progress+uint64(blocks(w, rank, block)))
			if err == nil {
				err = b.fetch(w, rank, block, v)
			}
			if err != nil {
				return err
			}
		}
	}
	b.progress += uint64(blocks(w, 0, block))
	if b.borrowed {
		return nil
	}
	return b.part()
}

// borrowBytes is the largest vector that goes through the stages to save a wait.
const borrowBytes = 512 << 10

// borrow settles whether results go through the stages, where each peer has its
// chunk.
func (b *board) borrow(w *Work) {
	b.borrowed = b.crowded && w.bytes <= borrowBytes
	if !b.borrowed {
		return
	}
	for rank := range b.results {
		lo, hi := ring.Chunk(w.x.len, b.c.size, rank)
		b.results[rank] = over(b.mem.Sheet(rank)[stagesAt:], w.x.typ, hi-lo)
	}
}

// complete reports whether all that was read so far counts: a peer that has left
// may have changed it. A processor like those of arm64 may read what comes before
// an atomic load after it, but not after an atomic addition.
func (b *board) complete() error {
	b.fence.Add(1)
	for rank := range b.c.size {
		if rank != b.c.rank && b.gone(rank) {
			return b.missed(rank)
		}
	}
	return nil
}

// part ends a turn in which others read from our vector and we from theirs.
func (b *board) part() error {
	if err := b.complete(); err != nil {
		return err
	}
	b.mem.Post(wordDone, b.turn)
	for rank := range b.c.size {
		if rank == b.c.rank {
			continue
		}
		if _, err := b.await(rank, wordDone, b.turn, b.turn); err != nil {
			return err
		}
	}
	return nil
}

// fetch copies the blocks of a rank's chunk that are complete.
func (b *board) fetch(w *Work, rank, block int, progress uint64) error {
	all := blocks(w, rank, block)
	if progress < b.progress+uint64(b.copied[rank])+1 {
		return nil // what another turn has left there counts as nothing
	}
	if limit := b.progress + uint64(all); progress > limit {
		return b.beyond(rank, wordReduced, progress, limit)
	}
	ready := int(progress - b.progress)
	lo, hi := ring.Chunk(w.x.len, b.c.size, rank)
	base := 0 // of the results
	if b.borrowed {
		base = lo
	}
	from, to := lo+b.copied[rank]*block, min(lo+ready*block, hi)
	for at := from; at < to; at += block {
		end := min(at+block, to)
		to, from := w.x.Slice(at, end).Bytes(), b.results[rank].Slice(at-base, end-base).Bytes()
		if w.bytes >= pastBytes {
			simd.Stream(to, from)
			continue
		}
		if !b.taker.other {
			simd.Claim(to)
		}
		b.taker.copy(to, from)
	}
	b.copied[rank] = ready
	return nil
}

// pastBytes is from where on what is copied is written past the caches, which
// hardly keep so much.
const pastBytes = 8 << 20

const (
	maxBlock   = 64 << 10 // of what is copied at a time
	minBlock   = 16 << 10
	roundBytes = 1 << 20 // of the blocks of all peers that are combined at a time
)

// blockLen returns how many elements of a chunk are combined at a time: the same on
// all peers. Half a chunk, so that others copy while we combine; but no more than
// the caches of one processor hold, with what is added to it.
func blockLen(w *Work) int {
	n := w.c.size
	bytes := max(min(w.bytes/n/2, roundBytes/n), minBlock) &^ (lineBytes - 1)
	return bytes / w.x.typ.Size()
}

// lineBytes is the size of a line of the caches.
const lineBytes = 64

// blocks returns how many blocks the chunk of a rank has.
func blocks(w *Work, rank, block int) int {
	lo, hi := ring.Chunk(w.x.len, w.c.size, rank)
	return (hi - lo + block - 1) / block
}
