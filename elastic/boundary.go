package elastic

import (
	"context"

	"github.com/ringrun/ringrun/allreduce"
	"go.uber.org/zap"
)

// A talk is the exchange of notes in one generation. All peers begin and read the
// notes at the same steps.
type talk struct {
	steps int // since the last notes were begun
	gap   int // from one exchange to the next
	work  *allreduce.Work
	blobs [][]byte
	read  notes // those of work, once read
}

// boundary is what follows each committed step: the peers tell each other what
// they must know before the next one, and may change to another generation, all
// after the same step. A ring that breaks meanwhile is left to sync.
func (g *Group) boundary(ctx context.Context, gen *generation) error {
	t := &gen.talk
	t.steps++
	if t.work != nil { // begun after an earlier step
		all, err := g.readNotes(ctx, gen)
		if all == nil {
			return err
		}
		t.work, t.read, t.gap = nil, nil, all.gap()
		g.clerk.compared(gen, all)
		g.compareSpeed(gen, all)
		if g.compareNotes(gen, all) {
			return nil
		}
	}
	if t.steps < t.gap {
		return nil
	}
	mine := g.note(gen)
	g.verifier.put(&mine)
	t.steps = 0
	t.work, t.blobs = gen.comm.StartGather(mine.encode())
	if !mine.waits() {
		return nil
	}
	all, err := g.readNotes(ctx, gen)
	if all == nil {
		return err
	}
	g.follows(gen, mine, all)
	return nil
}

// readNotes waits for the notes that were begun last. It returns none when the
// ring has broken.
func (g *Group) readNotes(ctx context.Context, gen *generation) (notes, error) {
	t := &gen.talk
	if t.read != nil {
		return t.read, nil
	}
	if err := g.meter.await(ctx, t.work); err != nil {
		if retry(ctx, err) {
			return nil, nil
		}
		return nil, err
	}
	var err error
	t.read, err = parseNotes(t.blobs)
	return t.read, err
}

// note returns this peer's, but for the hashes.
func (g *Group) note(gen *generation) note {
	g.mu.Lock()
	n := note{Ready: g.ready, Out: g.out, Knows: g.known > gen.view.Epoch}
	g.mu.Unlock()
	n.Leaving = g.draining()
	n.Steps, n.Pace = g.steps, g.meter.stepTime()
	n.Pass, n.Why = g.meter.pass(), g.vitals.reason()
	return n
}

// follows changes to the next generation if all are ready.
func (g *Group) follows(gen *generation, mine note, all notes) {
	switch {
	case all.allLeave():
		g.left = true
		g.mu.Lock()
		g.ended = true // nobody misses the ring
		g.mu.Unlock()
	case !all.move():
		if all.goesOn() && !mine.Knows && !mine.Out {
			g.node().Renew(gen.view.Epoch) // whoever knows of a later view answers
		}
		return
	default:
		g.left = mine.Out && mine.Leaving
		g.noteLeaving(gen, all)
	}
	g.say(gen, "view ends after a step", zap.Uint64("epoch", gen.view.Epoch), zap.Uint64("steps", g.steps))
	g.retire(gen)
}

// noteLeaving remembers who is not lost.
func (g *Group) noteLeaving(gen *generation, all notes) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for r, n := range all {
		if n.Out {
			g.leaving = append(g.leaving, gen.view.Peers[r].ID)
		}
	}
}

// retire ends a generation whose collectives have all ended.
func (g *Group) retire(gen *generation) {
	g.mu.Lock()
	gen.retired = true
	g.mu.Unlock()
	gen.comm.Close()
}

func (g *Group) retired(gen *generation) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return gen.retired
}

// use says that this peer's training has come to a generation.
func (g *Group) use(gen *generation) {
	g.mu.Lock()
	defer g.mu.Unlock()
	gen.used = true
}

func (g *Group) inUse(gen *generation) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return gen.used
}

// expect says what comes after the generation in use.
func (g *Group) expect(ready uint64, out bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ready != ready || g.out != out {
		g.ready, g.out = ready, out
		g.change()
	}
}
