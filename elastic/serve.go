package elastic

import (
	"context"
	"fmt"
	"sync"

	"github.com/ringrun/ringrun/ring"
)

// stateLane is the lane of direct links between a peer that needs the state and
// one that has it. No ring has so many.
const stateLane = 99

// What travels on a direct link, in frames of the ring:
//
//	Op      Seq     Offset          Count             body
//	ask     piece   –               –                 –
//	give    piece   bytes before    bytes in piece    some of the piece
//
// The needer asks; the donor answers in order.
const (
	opAsk uint8 = iota + 1
	opGive
)

// serve lets every needer fetch pieces until stop is called.
func serve(ctx context.Context, gen *generation, p plan, s *shelf) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	for r, peer := range gen.view.Peers {
		if !p.Needs[r] {
			continue
		}
		running.Go(func() {
			link, err := gen.links.Accept(ctx, gen.edge(peer.ID))
			if err != nil {
				return // the needer says what went wrong
			}
			defer link.Close()
			defer context.AfterFunc(ctx, func() { link.Close() })()
			for answer(ctx, link, gen, s) == nil {
			}
		})
	}
	return func() {
		cancel()
		running.Wait()
	}
}

// edge names the direct link to a peer.
func (gen *generation) edge(peer string) ring.Edge {
	return ring.Edge{Self: gen.view.Peers[gen.rank].ID, Peer: peer, Epoch: gen.view.Epoch, Lane: stateLane}
}

// answer serves one question.
func answer(ctx context.Context, l ring.Link, gen *generation, s *shelf) error {
	h, err := l.Next()
	if err != nil {
		return err
	}
	if h.Op != opAsk || h.Epoch != gen.view.Epoch || int(h.Seq) >= len(s.pieces) || h.Length > 0 {
		return fmt.Errorf("elastic: asked op %d, epoch %d, piece %d of %d", h.Op, h.Epoch, h.Seq, len(s.pieces))
	}
	body, err := s.get(ctx, int(h.Seq))
	if err != nil {
		return err
	}
	frame := gen.links.Limits().FrameBytes
	for at := 0; at < len(body); {
		part := body[at:min(at+frame, len(body))]
		err := l.Send(ring.Header{
			Kind: ring.Data, Op: opGive, Epoch: h.Epoch, Seq: h.Seq,
			Offset: uint64(at), Count: uint64(len(body)), Length: uint32(len(part)),
		}, part)
		if err != nil {
			return err
		}
		at += len(part)
	}
	return nil
}
