package shm

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ringrun/ringrun/ring"
	"github.com/ringrun/ringrun/ring/ringtest"
	"golang.org/x/sys/unix"
)

// boards opens the board of an epoch on all transports.
func boards(t *testing.T, ts []*Transport, epoch uint64) []ring.Board {
	t.Helper()
	var peers []string
	for _, tr := range ts {
		peers = append(peers, tr.cfg.ID)
	}
	all := make([]ring.Board, len(ts))
	var wait sync.WaitGroup
	for i, tr := range ts {
		wait.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			b, err := tr.Share(ctx, peers, ring.Edge{Self: tr.cfg.ID, Epoch: epoch, Lane: 80})
			if err != nil {
				t.Errorf("%s: %v", tr.cfg.ID, err)
				return
			}
			all[i] = b
		})
	}
	wait.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return all
}

// TestShare: everybody sees what everybody else writes, in one epoch after the
// other, and can write nowhere but to its own.
func TestShare(t *testing.T) {
	ringtest.CheckLeaks(t)
	checkHoldings(t)
	ts := group(t, 4, nil)
	for epoch := range uint64(3) {
		all := boards(t, ts, epoch+1)
		for i, b := range all {
			b.Sheet(i)[1000] = byte(10*epoch) + byte(i)
			vector, err := ts[i].Alloc(100)
			if err != nil {
				t.Fatal(err)
			}
			defer ts[i].Free(vector)
			vector[0] = byte(10*epoch) + byte(i)
			at, _ := ts[i].arena.place(vector)
			b.Post(8, uint64(at)+1)
		}
		for i, b := range all {
			for j := range all {
				want := byte(10*epoch) + byte(j)
				if got := b.Sheet(j)[1000]; got != want {
					t.Errorf("%d sees %d in the sheet of %d, want %d", i, got, j, want)
				}
				at := b.Peek(j, 8) - 1
				if got := b.Arena(j)[at]; got != want {
					t.Errorf("%d sees %d in the arena of %d, want %d", i, got, j, want)
				}
			}
		}
		checkProtected(t, all)
		for _, b := range all {
			b.Close()
		}
	}
}

// checkProtected holds the mappings of others' memory to be read-only.
func checkProtected(t *testing.T, all []ring.Board) {
	t.Helper()
	b := all[0].(*board)
	for rank := 1; rank < len(all); rank++ {
		for _, mem := range [][]byte{b.mem[rank], b.arenas[rank]} {
			if err := unix.Mprotect(mem[:pageBytes], unix.PROT_READ|unix.PROT_WRITE); err == nil {
				t.Errorf("rank 0 can make the memory of rank %d writable", rank)
			}
		}
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil || !strings.Contains(string(maps), "memfd:ringrun") {
		t.Errorf("%v, or no segment is mapped", err)
	}
}

// TestShareFails: without all peers there is no board, and nothing is left.
func TestShareFails(t *testing.T) {
	ringtest.CheckLeaks(t)
	checkHoldings(t)
	ts := group(t, 3, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	var wait sync.WaitGroup
	for _, tr := range ts[:2] {
		wait.Go(func() {
			if b, err := tr.Share(ctx, []string{"p0", "p1", "p2"}, ring.Edge{Self: tr.cfg.ID, Epoch: 1, Lane: 80}); err == nil || !strings.Contains(err.Error(), "p2") {
				t.Errorf("%v, %v; want an error that names p2", b, err)
			}
		})
	}
	wait.Wait()
}

// TestAwait: a value that comes soon, late, or never.
func TestAwait(t *testing.T) {
	ringtest.CheckLeaks(t)
	ts := group(t, 2, nil)
	all := boards(t, ts, 1)
	defer all[0].Close()
	defer all[1].Close()
	errStop := errors.New("stop")
	never := func() error { return nil }
	for i, after := range []time.Duration{0, 30 * time.Microsecond, time.Millisecond, 20 * time.Millisecond} {
		value := uint64(i + 1)
		posted := make(chan struct{})
		time.AfterFunc(after, func() {
			all[1].Post(64, value)
			close(posted)
		})
		if v, err := all[0].Await(1, 64, value, never); err != nil || v != value {
			t.Errorf("after %v: %d, %v; want %d", after, v, err, value)
		}
		<-posted
	}
	begin := time.Now()
	quit := func() error {
		if time.Since(begin) > 50*time.Millisecond {
			return errStop
		}
		return nil
	}
	if _, err := all[0].Await(1, 64, 100, quit); !errors.Is(err, errStop) {
		t.Errorf("%v, want what quit says", err)
	}
	if d := time.Since(begin); d > patience {
		t.Errorf("it took %v to ask quit", d)
	}
	all[1].Post(64, 100)
	if v, err := all[0].Await(1, 64, 100, func() error { return errStop }); err != nil || v != 100 {
		t.Errorf("%d, %v; want what was posted before", v, err)
	}
}
