package allreduce

import (
	"strings"
	"testing"
	"unsafe"
)

// A faker is a liar whose word of progress is another one at every look.
type faker struct {
	*liar
	said []uint64
}

func (f *faker) Peek(rank, at int) uint64 {
	if at != wordReduced || len(f.said) == 0 {
		return f.liar.Peek(rank, at)
	}
	v := f.said[0]
	f.said = f.said[1:]
	return v
}

// vow has the other peer begin turn 1 with the same collective, its vector at the
// beginning of its arena.
func (l *liar) vow(w *Work) {
	p := (*post)(unsafe.Pointer(&l.sheets[1][postBytes]))
	p.what, p.count, p.name, p.place = w.what(), uint64(w.x.len), w.name(), 0
	l.word(1, postBytes).Store(1)
}

// TestMoreThanAll: a peer says that it has completed more blocks than its chunk
// has, first so many that their number is negative. It is named, and nothing is
// read that is not its chunk.
func TestMoreThanAll(t *testing.T) {
	for _, said := range [][]uint64{{1 << 63, 1<<63 + 1}, {1<<63 + 1<<51, 1<<63 + 1<<51 + 1}, {5, 6}} {
		l := newLiar()
		c := loneComm(t)
		b := newBoard(c, &faker{l, said})
		x := Over(l.arenas[0][:100<<10], Float32)
		w := &Work{c: c, x: x, bytes: len(x.Bytes())}
		l.vow(w)
		b.turn, b.work = 1, w
		if err := b.reduce(w); err == nil || !strings.Contains(err.Error(), "b has") {
			t.Errorf("%d: %v, want an error about b", said, err)
		}
		end(c, b)
	}
}

// end closes a Comm that has not known of its board.
func end(c *Comm, b *board) {
	c.mu.Lock()
	c.board = b
	b.filled.Broadcast()
	c.mu.Unlock()
	c.Close()
}
