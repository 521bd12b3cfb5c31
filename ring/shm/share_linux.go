package shm

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"

	"github.com/ringrun/ringrun/ring"
	"github.com/ringrun/ringrun/ring/internal/lobby"
	"golang.org/x/sys/unix"
)

// Share implements ring.Sharer. Of two peers the one that comes first in the
// ring dials. With the welcome and the going go two descriptors, of the sheet and
// of the arena, and then the connection is closed: the links tell who dies.
func (t *Transport) Share(ctx context.Context, peers []string, at ring.Edge) (ring.Board, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s, err := t.newShare(slices.Index(peers, at.Self), len(peers))
	if err != nil {
		return nil, err
	}
	defer closeAll(s.files[:])
	errs := make([]error, len(peers))
	var wait sync.WaitGroup
	for i, peer := range peers {
		if i == s.rank {
			continue
		}
		e := at
		e.Peer = peer
		wait.Go(func() {
			if s.rank < i {
				errs[i] = t.dial(ctx, e, func(ctx context.Context, c *lobby.Visitor) error { return s.meet(ctx, c, i, s.dialed) })
			} else {
				errs[i] = t.lobby.Accept(ctx, e, func(ctx context.Context, c *lobby.Visitor) error { return s.meet(ctx, c, i, s.accepted) })
			}
			if errs[i] != nil {
				errs[i] = fmt.Errorf("memory of %s: %w", peer, errs[i])
				cancel()
			}
		})
	}
	wait.Wait()
	b := newBoard(s.rank, s.mem, s.arenas, t.arena)
	if err := errors.Join(errs...); err != nil {
		b.Close()
		return nil, err
	}
	return b, nil
}

// share is a board in the making.
type share struct {
	rank   int
	files  [2]int   // our sheet and arena
	mem    [][]byte // by rank; each written by one goroutine
	arenas [][]byte
}

func (t *Transport) newShare(rank, size int) (*share, error) {
	s := &share{rank: rank, mem: make([][]byte, size), arenas: make([][]byte, size)}
	var err error
	if s.files[1], err = t.arena.lend(); err != nil {
		return nil, err
	}
	s.arenas[rank] = t.arena.mem
	if s.mem[rank], s.files[0], err = newMemory(pageBytes+sheetBytes, unix.MAP_POPULATE); err != nil {
		unix.Close(s.files[1])
		t.arena.release()
		return nil, err
	}
	return s, nil
}

// meet swaps memory with the peer of a rank over a connection, and closes it.
func (s *share) meet(ctx context.Context, conn *lobby.Visitor, rank int, swap func(*net.UnixConn, []int) error) error {
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, lobby.StrangerTime)
	defer cancel()
	good := lobby.Guard(ctx, conn)
	var theirs [2]int
	err := swap(conn.Conn.(*net.UnixConn), theirs[:])
	if !good() && err == nil {
		err = context.Cause(ctx)
		closeAll(theirs[:])
	}
	if err != nil {
		return err
	}
	return s.adopt(rank, theirs)
}

func (s *share) dialed(conn *net.UnixConn, theirs []int) error {
	err := receiveFiles(conn, lobby.Welcome, theirs)
	if err != nil {
		return err
	}
	if err := sendFiles(conn, lobby.Going, s.files[:]...); err != nil {
		closeAll(theirs)
		return err
	}
	return nil
}

func (s *share) accepted(conn *net.UnixConn, theirs []int) error {
	if err := sendFiles(conn, lobby.Welcome, s.files[:]...); err != nil {
		return err
	}
	return receiveFiles(conn, lobby.Going, theirs)
}

// adopt maps the memory of the peer of a rank.
func (s *share) adopt(rank int, files [2]int) error {
	mem, err := adoptMemory(files[0], unix.MAP_POPULATE, func(size int64) bool { return size == pageBytes+sheetBytes })
	if err != nil {
		unix.Close(files[1])
		return err
	}
	arena, err := adoptMemory(files[1], unix.MAP_NORESERVE, func(size int64) bool {
		return size > 0 && size <= maxArena && size%pageBytes == 0
	})
	if err != nil {
		unmap(mem)
		return err
	}
	s.mem[rank], s.arenas[rank] = mem, arena
	return nil
}

// Alloc returns zeros in memory that the peers of this host may read. A ring
// reduces vectors there without copying them first. The memory remains until
// Free, whatever becomes of the transport.
func (t *Transport) Alloc(bytes int) ([]byte, error) { return t.arena.Alloc(bytes) }

// Free takes back what Alloc has returned, and ignores other memory.
func (t *Transport) Free(b []byte) { t.arena.Free(b) }
