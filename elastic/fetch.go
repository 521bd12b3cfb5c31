package elastic

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/ringrun/ringrun/ring"
	"go.uber.org/zap"
)

const (
	asksAhead   = 2               // pieces that a donor is asked for at a time
	fetchOpen   = 4 * time.Second // for a direct link
	fetchSilent = 3 * time.Second // a donor that sends nothing for so long is no use
)

// errNoDonor reports that the state came from nobody: the next generation sends
// it round the ring.
var errNoDonor = errors.New("elastic: no donor could be reached directly")

// A fetch is one generation's attempt to complete a partial state. Each donor is
// asked for the lowest pieces that nobody else was asked for; at the end those
// that are still on their way are asked for twice, so that one slow donor does
// not hold up the rest.
type fetch struct {
	gen  *generation
	mu   sync.Mutex // guards the fields below
	have *partial
	low  int           // no piece below is missing
	asks []int         // donors that were asked for each piece
	got  chan struct{} // closed when all is here
}

// fetch gets what is missing from all donors at once.
func (g *Group) fetch(ctx context.Context, gen *generation, p plan) error {
	f := &fetch{gen: gen, have: g.partial, asks: make([]int, len(g.partial.pieces)), got: make(chan struct{})}
	began, lacked := time.Now(), f.have.missing
	if lacked == 0 {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var donors sync.WaitGroup
	for r, peer := range gen.view.Peers {
		if p.Needs[r] {
			continue
		}
		donors.Go(func() {
			if err := f.from(ctx, peer.ID); err != nil && ctx.Err() == nil {
				g.cfg.Logger.Warn("state does not come from a peer", zap.String("peer", peer.ID), zap.Error(err))
			}
		})
	}
	gone := make(chan struct{})
	go func() {
		donors.Wait()
		close(gone)
	}()
	select {
	case <-f.got:
	case <-gone:
	case <-gen.comm.Done():
	}
	cancel()
	<-gone
	g.cfg.Logger.Debug("fetched", zap.Int("pieces", lacked-f.have.missing), zap.Int("missing", f.have.missing), zap.Duration("took", time.Since(began)))
	return g.fetched(gen, f.have)
}

// fetched says what an attempt has come to.
func (g *Group) fetched(gen *generation, have *partial) error {
	if have.missing == 0 {
		return nil
	}
	if err := gen.comm.Err(); err != nil {
		return err
	}
	g.viaRing = true
	gen.comm.Close()
	return fmt.Errorf("%w: %w, %d of %d pieces are missing", ring.ErrBroken, errNoDonor, have.missing, len(have.pieces))
}

// from gets pieces from one donor until none is missing.
func (f *fetch) from(ctx context.Context, donor string) error {
	dctx, cancel := context.WithTimeout(ctx, fetchOpen)
	link, err := f.gen.links.Dial(dctx, f.gen.edge(donor))
	cancel()
	if err != nil {
		return err
	}
	defer link.Close()
	defer context.AfterFunc(ctx, func() { link.Close() })()
	alive := time.AfterFunc(fetchSilent, func() { link.Close() })
	defer alive.Stop()
	var asked []int
	defer func() { f.giveBack(asked) }()
	for {
		for len(asked) < asksAhead {
			i, ok := f.choose(asked)
			if !ok {
				break
			}
			asked = append(asked, i)
			if err := link.Send(ring.Header{Kind: ring.Data, Op: opAsk, Epoch: f.gen.view.Epoch, Seq: uint32(i)}, nil); err != nil {
				return err
			}
		}
		if len(asked) == 0 {
			return nil
		}
		if err := f.receive(link, asked[0], alive); err != nil {
			return err
		}
		asked = asked[1:]
	}
}

// choose returns the missing piece that the fewest donors were asked for, but
// none that this one was asked for.
func (f *fetch) choose(mine []int) (int, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.low < len(f.have.pieces) && f.have.pieces[f.low] != nil {
		f.low++
	}
	best := -1
	for i := f.low; i < len(f.have.pieces); i++ {
		if f.have.pieces[i] != nil || slices.Contains(mine, i) || f.asks[i] > 1 {
			continue
		}
		if best < 0 || f.asks[i] < f.asks[best] {
			best = i
		}
		if f.asks[i] == 0 {
			break
		}
	}
	if best < 0 {
		return 0, false
	}
	f.asks[best]++
	return best, true
}

func (f *fetch) giveBack(asked []int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, i := range asked {
		f.asks[i]--
	}
}

// receive takes in one piece. Memory for it is of the size that the manifest
// says, whatever the donor does.
func (f *fetch) receive(l ring.Link, i int, alive *time.Timer) error {
	body := make([]byte, f.have.size(i))
	for at := 0; at < len(body); {
		h, err := l.Next()
		if err != nil {
			return err
		}
		if h.Op != opGive || h.Epoch != f.gen.view.Epoch || int(h.Seq) != i || h.Offset != uint64(at) ||
			h.Count != uint64(len(body)) || h.Length == 0 || int(h.Length) > len(body)-at {
			return fmt.Errorf("elastic: given %d of %d bytes at %d of piece %d, want some at %d of %d of piece %d",
				h.Length, h.Count, h.Offset, h.Seq, at, len(body), i)
		}
		part := body[at : at+int(h.Length)]
		for len(part) > 0 {
			n, err := l.Read(part)
			alive.Reset(fetchSilent)
			if err != nil && (err != io.EOF || n < len(part)) {
				return err
			}
			part = part[n:]
		}
		at += int(h.Length)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.have.missing == 0 {
		return nil
	}
	if err := f.have.accept(i, body); err != nil {
		return err
	}
	if f.have.missing == 0 {
		close(f.got)
	}
	return nil
}
