package allreduce

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/ringrun/ringrun/ring"
	"github.com/ringrun/ringrun/ring/ringtest"
)

// A liar is a board whose other peer has written what it likes.
type liar struct {
	sheets [2][]byte
	arenas [2][]byte
}

func newLiar() *liar {
	l := &liar{}
	for i := range l.sheets {
		l.sheets[i] = Of(make([]int64, 1<<17)).Bytes()
		l.arenas[i] = Of(make([]int64, 1<<14)).Bytes()
	}
	return l
}

func (l *liar) Sheet(rank int) []byte { return l.sheets[rank] }
func (l *liar) Arena(rank int) []byte { return l.arenas[rank] }
func (l *liar) Close() error          { return nil }

func (l *liar) word(rank, at int) *atomic.Uint64 {
	return (*atomic.Uint64)(unsafe.Pointer(&l.sheets[rank][at]))
}

func (l *liar) Post(at int, v uint64)    { l.word(0, at).Store(v) }
func (l *liar) Peek(rank, at int) uint64 { return l.word(rank, at).Load() }
func (l *liar) Await(rank, at int, v uint64, quit func() error) (uint64, error) {
	if got := l.Peek(rank, at); got >= v {
		return got, nil
	}
	return 0, errors.New("it will never come")
}

// FuzzPost: whatever the other peer has written, a turn ends, and touches no
// memory that is not the arenas' and the sheets'.
func FuzzPost(f *testing.F) {
	good := make([]byte, 5*8)
	f.Add(good, uint64(0), uint64(1), uint64(2), uint64(3), uint16(20000))
	f.Add([]byte{1, 0, 0, 0, 0, 0, 0, 0, 0, 1}, ^uint64(0), ^uint64(0), uint64(1)<<63, uint64(0), uint16(3))
	f.Fuzz(func(t *testing.T, said []byte, place, reduced, staged, gone uint64, length uint16) {
		l := newLiar()
		x := Over(l.arenas[0][:4*(int(length)%(1<<14))], Float32)
		w := &Work{x: x, bytes: len(x.Bytes())}
		p := (*post)(unsafe.Pointer(&l.sheets[1][postBytes])) // of turn 1
		p.turn, p.what, p.count, p.name, p.place = 1, w.what(), uint64(x.len), w.name(), place
		copy(l.sheets[1][postBytes:], said)
		l.word(1, wordReduced).Store(reduced)
		l.word(1, wordStaged).Store(staged)
		l.word(1, wordDone).Store(1)
		l.word(1, wordGone).Store(gone)
		c := loneComm(t)
		b := newBoard(c, l)
		c.mu.Lock()
		c.board = b
		c.mu.Unlock()
		w.c = c
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		b.ctx, b.turn, b.work = ctx, 1, w
		_ = b.reduce(w)
		c.Close()
	})
}

// loneComm returns a Comm of rank 0 of two, whose peer never does anything.
func loneComm(t *testing.T) *Comm {
	t.Helper()
	net := ringtest.NewNet(ringtest.Options{})
	rings := make(chan *ring.Ring, 2)
	for _, self := range []string{"a", "b"} {
		go func() {
			r, err := ring.Open(t.Context(), ring.Config{Self: self, Peers: []string{"a", "b"}, Epoch: 1, Transport: net.Transport(self)})
			if err != nil {
				t.Error(err)
			}
			rings <- r
		}()
	}
	mine, theirs := <-rings, <-rings
	if mine == nil || theirs == nil {
		t.FailNow()
	}
	if mine.Rank() != 0 {
		mine, theirs = theirs, mine
	}
	t.Cleanup(func() { theirs.Close() })
	return New(mine, Config{})
}
