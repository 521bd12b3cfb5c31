package allreduce

import (
	"strings"
	"testing"
	"unsafe"

	"github.com/ringrun/ringrun/ring"
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
		b, end := boardOf(c, &faker{l, said})
		x := Over(l.arenas[0][:100<<10], Float32)
		w := &Work{c: c, x: x, bytes: len(x.Bytes())}
		l.vow(w)
		b.turn, b.work = 1, w
		if err := b.reduce(w); err == nil || !strings.Contains(err.Error(), "b has") {
			t.Errorf("%d: %v, want an error about b", said, err)
		}
		end()
	}
}

// TestFailedTurnIsTheLast: a turn fails while another peer still reads what was
// posted in it. What is next here leaves that as it is.
func TestFailedTurnIsTheLast(t *testing.T) {
	l := newLiar()
	c := loneComm(t)
	b, end := boardOf(c, l)
	first, second := []int64{1, 2, 3}, []int64{4, 5, 6}
	for _, x := range [][]int64{first, second} {
		w := &Work{c: c, x: Of(x), bytes: 24}
		if err := b.do(w); err == nil {
			t.Fatal("a turn that nobody else takes went well")
		}
		if gone := l.Peek(0, wordGone); gone != 1 {
			t.Errorf("gone is %d, want 1", gone)
		}
		if got := over(b.posts[0][1].words[:], Int64, 3); !same(got, Of(first)) {
			t.Errorf("posted is %v, want %v", Elements[int64](got), first)
		}
	}
	end()
}

// boardOf gives a Comm a board, on which the test takes turns until it calls end.
func boardOf(c *Comm, mem ring.Board) (b *board, end func()) {
	b = newBoard(c, mem)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.board = b
	c.running.Add(1)
	return b, func() {
		c.running.Done()
		c.Close()
	}
}

func same(x, y Vector) bool { return string(x.Bytes()) == string(y.Bytes()) }
