package elastic

import (
	"sync"
	"testing"
	"unsafe"

	"github.com/ringrun/ringrun/allreduce"
	"github.com/ringrun/ringrun/ring/shm"
)

// TestAlloc: zeros, aligned, wherever they are.
func TestAlloc(t *testing.T) {
	arena := newArena(Config{Transport: "auto"}.withDefaults())
	if arena == nil && shm.Identity() != "" {
		t.Error("this host has shared memory, but there is no arena")
	}
	if newArena(Config{Transport: "tcp"}.withDefaults()) != nil {
		t.Error("an arena although nobody shares memory")
	}
	for _, g := range []*Group{{}, {arena: arena}} {
		if b := g.Alloc(0); len(b) != 0 {
			t.Errorf("%d bytes, want none", len(b))
		}
		for _, size := range []int{1, 64, 1000, 100000} {
			for range 3 {
				b := g.Alloc(size)
				if len(b) != size || uintptr(unsafe.Pointer(unsafe.SliceData(b)))%64 != 0 {
					t.Fatalf("%d bytes at %p, want %d at a multiple of 64", len(b), unsafe.SliceData(b), size)
				}
				for i := range b {
					if b[i] != 0 {
						t.Fatalf("byte %d of %d is not zero", i, size)
					}
					b[i] = 1
				}
				g.Free(b)
			}
		}
	}
	if arena != nil {
		arena.Close()
	}
}

// inArena returns memory from the group that is never freed.
func inArena(g *Group, n int) []float64 {
	return allreduce.Elements[float64](allreduce.Over(g.Alloc(8*n), allreduce.Float64))
}

// TestArenaOutlivesGenerations: vectors in the arena serve one generation after
// the other, also when a peer was left out and is back under a new ID.
func TestArenaOutlivesGenerations(t *testing.T) {
	c := newCluster(t, someSamples)
	c.vector = func(g *Group, _ *peer) []float64 { return inArena(g, 9000) }
	var once sync.Once
	back := make(chan struct{})
	var came sync.Once
	c.heard = func(p *peer, e event) {
		if p.id == "p1-0" && e.Event == "view" && e.ID != p.id {
			came.Do(func() { close(back) })
		}
	}
	c.at = func(p *peer, shard Shard) error {
		if shard.Step == 5 && p.id == "p1-0" {
			once.Do(func() { c.leaveOut(p) })
		}
		if shard.Step == 20 {
			select {
			case <-back:
			case <-c.ctx.Done():
			}
		}
		if shard.Step == 30 && p.id == "p2-0" {
			p.kill()
			return errKilled
		}
		return nil
	}
	for range 3 {
		c.start(3)
	}
	c.check(c.peers[2])
}
