package shm

import (
	"runtime"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A board is a ring.Board. The memory behind a sheet begins with a page of ours:
//
//	   0  bed    not 0 while the owner dozes: a number that differs every time,
//	             and the rank and place of the word that it waits for
//	4096  sheet
type board struct {
	rank   int
	mem    [][]byte // the sheets by rank, each with our page before it
	arenas [][]byte
	arena  *Arena // ours
	temper
	glance int    // how often the processor pauses before we take a look at the clock
	shared bool   // peers outnumber processors: who looks again and again holds others up
	nights uint64 // how often we have dozed
}

const (
	sheetBytes = 1 << 20

	// glances are some hundred nanoseconds; fewGlances where processors are few.
	glances    = 64
	fewGlances = 4
	// goroutines is every how many offers to other processes our own goroutines get
	// one: it may start a thread, for which there is no processor.
	goroutines = 32
	// napTime doubles with every doze of one wait, up to longNap: whoever waits
	// for a peer that computes should not take its processor.
	napTime = 50 * time.Microsecond
	// longYield is how long processors are offered where there are too few.
	longYield = 300 * time.Microsecond
	longNap   = 2 * time.Millisecond
)

func newBoard(rank int, mem, arenas [][]byte, arena *Arena) *board {
	b := &board{rank: rank, mem: mem, arenas: arenas, arena: arena, temper: temper{spin: maxSpin}, glance: glances}
	if len(mem) > runtime.NumCPU() {
		b.glance, b.shared = fewGlances, true
	}
	return b
}

// Sheet implements ring.Board.
func (b *board) Sheet(rank int) []byte { return b.mem[rank][pageBytes:] }

// Arena implements ring.Board.
func (b *board) Arena(rank int) []byte { return b.arenas[rank] }

func (b *board) word(rank, at int) *atomic.Uint64 {
	return (*atomic.Uint64)(unsafe.Pointer(&b.mem[rank][pageBytes+at]))
}

func (b *board) bed(rank int) *atomic.Uint64 {
	return (*atomic.Uint64)(unsafe.Pointer(&b.mem[rank][0]))
}

// dream names a word in a bed.
func dream(rank, at int) uint64 { return uint64(rank)<<16 | uint64(at>>3) }

const dreamBits = 32

// Post implements ring.Board. The store is a barrier: who dozes either has seen
// the new value, or we see that it dozes.
func (b *board) Post(at int, value uint64) {
	sending()
	w := b.word(b.rank, at)
	w.Store(value)
	for rank := range b.mem {
		if rank == b.rank {
			continue
		}
		if n := b.bed(rank).Load(); n != 0 && n&(1<<dreamBits-1) == dream(b.rank, at) {
			wakeAll(w)
			return
		}
	}
}

// Peek implements ring.Board.
func (b *board) Peek(rank, at int) uint64 {
	v := b.word(rank, at).Load()
	received()
	return v
}

// Await implements ring.Board.
func (b *board) Await(rank, at int, value uint64, quit func() error) (uint64, error) {
	w := b.word(rank, at)
	if v := spin(w, value, b.glance); v >= value {
		received()
		return v, nil
	}
	return b.linger(rank, at, value, quit)
}

func (b *board) linger(rank, at int, value uint64, quit func() error) (uint64, error) {
	w := b.word(rank, at)
	begin := time.Now()
	looks, offers, nap := b.begin(), yieldTime, napTime
	if b.shared {
		looks, offers = 0, longYield
	}
	for i := 1; ; i++ {
		err := quit() // before the look: what was posted before still counts
		if v := w.Load(); v >= value {
			received()
			b.learn(time.Since(begin))
			return v, nil
		}
		if err != nil {
			return 0, err
		}
		switch waited := time.Since(begin); {
		case waited < looks:
			pause(pauses)
		case waited < looks+offers && b.shared && i%goroutines != 0:
			unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0)
		case waited < looks+offers:
			b.yield()
		default:
			b.doze(rank, at, value, nap)
			nap = min(2*nap, longNap)
		}
	}
}

// doze lets the owner of a word know that we wait for it, looks once more, and
// sleeps until it wakes us, or for a while.
func (b *board) doze(rank, at int, value uint64, d time.Duration) {
	b.nights++
	b.bed(b.rank).Store(b.nights<<dreamBits | dream(rank, at))
	w := b.word(rank, at)
	if v := w.Load(); v < value {
		futexSleep(w, v, d)
	}
	b.bed(b.rank).Store(0)
}

// Close implements ring.Board.
func (b *board) Close() error {
	for rank := range b.mem {
		unmap(b.mem[rank])
		if rank != b.rank {
			unmap(b.arenas[rank])
		}
	}
	b.arena.release()
	b.mem, b.arenas = nil, nil
	return nil
}

func unmap(mem []byte) {
	if mem != nil {
		unix.MunmapPtr(unsafe.Pointer(&mem[0]), uintptr(len(mem))) // cannot fail: it is what mapMemory has returned
	}
}
