package shm

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"
)

func newArena(t *testing.T) *Arena {
	t.Helper()
	a, err := NewArena()
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestArena allocates and frees at random: what is allocated is zero, and nobody
// else's.
func TestArena(t *testing.T) {
	checkHoldings(t)
	a := newArena(t)
	r := rand.New(rand.NewPCG(1, 2))
	held := map[byte][]byte{}
	check := func(id byte) {
		for i, v := range held[id] {
			if v != id {
				t.Fatalf("byte %d of the memory with %d in it is %d", i, id, v)
			}
		}
	}
	for range 5000 {
		id := byte(1 + r.IntN(40))
		if _, ok := held[id]; ok {
			check(id)
			a.Free(held[id])
			delete(held, id)
			continue
		}
		size := []int{r.IntN(300), r.IntN(3 * pageBytes), r.IntN(20 * pageBytes)}[r.IntN(3)]
		b, err := a.Alloc(size)
		if err != nil {
			t.Fatal(err)
		}
		if at, ok := a.place(b); len(b) != size || cap(b) != size || size > 0 && !ok || at%lineBytes != 0 && ok || size >= pageBytes && at%pageBytes != 0 {
			t.Fatalf("%d bytes at %d, %v; want %d", len(b), at, ok, size)
		}
		for i := range b {
			if b[i] != 0 {
				t.Fatalf("byte %d of %d is %d, want 0", i, size, b[i])
			}
			b[i] = id
		}
		held[id] = b
	}
	for id, b := range held {
		check(id)
		a.Free(b)
	}
	if a.top != 0 || len(a.free) != 0 || len(a.used) != 0 {
		t.Errorf("all is free, but the arena has %d bytes in use, %v free and %v used", a.top, a.free, a.used)
	}
	a.Close()
}

// TestArenaLimits: what does not fit is an error, and other memory is no business
// of the arena.
func TestArenaLimits(t *testing.T) {
	checkHoldings(t)
	a := newArena(t)
	for _, size := range []int{-1, len(a.mem) + 1, math.MaxInt} {
		if _, err := a.Alloc(size); !errors.Is(err, ErrArena) {
			t.Errorf("%d of %d bytes: %v", size, len(a.mem), err)
		}
	}
	a.Free(make([]byte, 100))
	a.Free(nil)
	b, err := a.Alloc(100)
	if err != nil {
		t.Fatal(err)
	}
	a.Free(b[1:])
	a.Close()
	if _, err := a.Alloc(100); !errors.Is(err, ErrArena) {
		t.Errorf("closed: %v", err)
	}
	b[99] = 1 // still there
	a.Free(b)
	a.Free(b)
	if a.mem != nil {
		t.Error("closed and free, but not unmapped")
	}
}
