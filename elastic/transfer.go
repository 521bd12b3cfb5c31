package elastic

import (
	"context"
	"fmt"
	"time"

	"github.com/ringrun/ringrun/allreduce"
	"go.uber.org/zap"
)

// Those who lack the group's state (needers) get it from all who have it
// (donors), over direct links beside the ring. When the needers are more than
// the donors, whose links would be the bottleneck, it goes round the ring
// instead, once for all; so it does when a direct link could not be opened.
//
//	donors   save ─ put pieces on a shelf ─ serve ……………………………… barrier
//	needers  salvage what is here ─ fetch from all donors at once ─ barrier ─ load
//
// Nobody's state changes before everybody has everything, and a peer that loses
// the ring meanwhile keeps the pieces that it has checked.
func (g *Group) transfer(ctx context.Context, gen *generation, all []status, p plan) error {
	defer g.meter.inside("state transfer", time.Now())
	m, err := g.describe(ctx, gen, all[p.Source], p.Source)
	if err != nil {
		return err
	}
	needs := p.Needs[gen.rank]
	if needs {
		if err := g.salvage(m); err != nil {
			return err
		}
	}
	move := g.direct
	if p.viaRing(all) {
		move = g.circulate
	}
	if err := move(ctx, gen, p, m); err != nil {
		return err
	}
	if !needs {
		return nil
	}
	have := g.partial
	g.partial, g.viaRing = nil, false
	if err := g.load(have.reader()); err != nil {
		return err
	}
	g.meter.at(g.steps)
	return nil
}

// viaRing reports whether the state goes round the ring.
func (p plan) viaRing(all []status) bool {
	needers := 0
	for r, s := range all {
		if p.Needs[r] {
			needers++
		}
		if s.ViaRing {
			return true
		}
	}
	return needers > len(all)-needers
}

// describe sends the source's manifest round the ring.
func (g *Group) describe(ctx context.Context, gen *generation, s status, source int) (manifest, error) {
	n := piecesIn(s.Bytes)
	if s.Bytes < 0 || n > maxPieces {
		return manifest{}, fmt.Errorf("elastic: %s has a state of %d bytes, at most %d pieces of %d can travel", s.ID, s.Bytes, maxPieces, pieceBytes)
	}
	b := make([]byte, 8*n)
	if gen.rank == source {
		copy(b, g.own.encode())
	}
	if err := gen.comm.Broadcast(ctx, allreduce.Of(b), source); err != nil {
		return manifest{}, err
	}
	return parseManifest(b, s.Bytes, s.Sum)
}

// salvage begins a partial state with what is here already: pieces that arrived
// in an earlier generation, and parts of the own state that do not differ, such
// as parameters that are not trained.
func (g *Group) salvage(m manifest) error {
	old := g.partial
	if old != nil && old.sum() == m.sum() {
		return nil
	}
	g.partial = newPartial(m)
	if old != nil {
		g.partial.salvage(old)
	}
	same := false
	for i, h := range g.own.hashes {
		same = same || i < len(m.hashes) && m.hashes[i] == h && g.partial.pieces[i] == nil
	}
	if !same {
		return nil
	}
	_, err := g.survey(func(i int, h uint64, b []byte) bool {
		wanted := i < len(m.hashes) && m.hashes[i] == h && len(b) == m.size(i) && g.partial.pieces[i] == nil
		if wanted {
			g.partial.keep(i, b)
		}
		return wanted
	})
	return err
}

// direct moves the state over links of its own.
func (g *Group) direct(ctx context.Context, gen *generation, p plan, m manifest) error {
	if p.Needs[gen.rank] {
		if err := g.fetch(ctx, gen, p); err != nil {
			return err
		}
		return gen.comm.Barrier(ctx)
	}
	s := newShelf(len(m.hashes))
	stop := serve(ctx, gen, p, s)
	defer stop()
	if _, err := g.survey(s.put); err != nil {
		return err
	}
	return gen.comm.Barrier(ctx)
}

// inFlight is how many pieces go round the ring at a time.
const inFlight = 4

// circulate sends the pieces that anybody lacks round the ring.
func (g *Group) circulate(ctx context.Context, gen *generation, p plan, m manifest) error {
	var mine []byte
	if p.Needs[gen.rank] {
		mine = g.partial.lacks()
	}
	maps, err := gen.comm.Gather(ctx, mine)
	if err != nil {
		return err
	}
	s := newShelf(len(m.hashes))
	if gen.rank == p.Source {
		if _, err := g.survey(s.put); err != nil {
			return err
		}
	}
	c := circle{g: g, gen: gen, p: p, m: m, shelf: s}
	for i := range m.hashes {
		if lacking(maps, i) {
			if err := c.send(ctx, i); err != nil {
				c.drain(ctx)
				return err
			}
		}
	}
	return c.drain(ctx)
}

// lacking reports whether anybody lacks a piece.
func lacking(maps [][]byte, i int) bool {
	for _, m := range maps {
		if i/8 < len(m) && m[i/8]>>(i%8)&1 == 1 {
			return true
		}
	}
	return false
}

// A circle is the pieces that go round the ring now.
type circle struct {
	g     *Group
	gen   *generation
	p     plan
	m     manifest
	shelf *shelf // of the source
	going []piece
}

type piece struct {
	index int
	body  []byte
	work  *allreduce.Work
}

// send starts a piece when there is room for it.
func (c *circle) send(ctx context.Context, i int) error {
	if len(c.going) == inFlight {
		if err := c.receive(ctx); err != nil {
			return err
		}
	}
	body := make([]byte, c.m.size(i))
	if c.gen.rank == c.p.Source {
		body = c.shelf.pieces[i]
	}
	if len(body) != c.m.size(i) {
		return fmt.Errorf("elastic: piece %d of the state has %d bytes, and had %d when it was described: it changes while it is saved", i, len(body), c.m.size(i))
	}
	c.going = append(c.going, piece{i, body, c.gen.comm.StartBroadcast(allreduce.Of(body), c.p.Source)})
	return nil
}

// receive waits for the oldest piece.
func (c *circle) receive(ctx context.Context) error {
	p := c.going[0]
	c.going = c.going[1:]
	if err := p.work.Wait(ctx); err != nil {
		return err
	}
	if !c.p.Needs[c.gen.rank] {
		return nil
	}
	return c.g.partial.accept(p.index, p.body)
}

// drain waits for all pieces: until then their memory belongs to the Comm.
func (c *circle) drain(ctx context.Context) error {
	var first error
	for len(c.going) > 0 {
		if err := c.receive(ctx); err != nil && first == nil {
			first = err
		}
	}
	if first != nil && ctx.Err() == nil {
		c.g.cfg.Logger.Debug("state round the ring", zap.Error(first))
	}
	return first
}
