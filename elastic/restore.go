package elastic

import (
	"bufio"
	"fmt"
	"io"
	"os"

	"go.uber.org/zap"
)

// lineage says what this peer trains.
func (g *Group) lineage() lineage {
	l := lineage{Digest: g.digest}
	if g.ledger != nil {
		l.Count, l.Seed = g.ledger.Samples.Count, g.ledger.Samples.Seed
	}
	return l
}

// restore loads the most advanced checkpoint that this peer can use, if it is one
// of those that the group begins with. What it cannot use it names, and leaves.
func (g *Group) restore() error {
	k := g.keeper
	if g.restored || k.Dir == "" || !g.cfg.Membership.Found && g.cfg.Size == 1 {
		return nil
	}
	g.restored = true
	all, err := list(k.Dir)
	if err != nil {
		return fmt.Errorf("elastic: checkpoints: %w", err)
	}
	if err := writable(k.Dir); err != nil {
		return fmt.Errorf("elastic: no checkpoint could be written: %w", err)
	}
	for _, s := range all {
		h, err := g.restoreFrom(s.path)
		if err != nil {
			k.logger.Warn("a checkpoint is of no use here", zap.String("file", s.path), zap.Error(err))
			continue
		}
		k.last = h.Steps
		g.next = step{} // a gradient that was computed before counts no more
		g.meter.at(g.steps)
		g.report.restored(g.id(), s.path, g.steps)
		k.logger.Info("restored", zap.String("file", s.path), zap.Uint64("steps", g.steps))
		return nil
	}
	return nil
}

// restoreFrom loads one file: it is read twice, so that nothing changes before all
// of it is known to be good.
func (g *Group) restoreFrom(path string) (header, error) {
	f, err := os.Open(path)
	if err != nil {
		return header{}, err
	}
	defer f.Close()
	if err := g.same(f, path); err != nil { // first: it is cheap
		return header{}, err
	}
	st, err := f.Stat()
	if err != nil {
		return header{}, err
	}
	h, err := verify(bufio.NewReaderSize(f, pieceBytes), st.Size())
	if err != nil {
		return header{}, err
	}
	if _, err := f.Seek(h.head, io.SeekStart); err != nil {
		return header{}, err
	}
	return h, g.resume(io.LimitReader(bufio.NewReaderSize(f, pieceBytes), h.Bytes))
}

// same checks that a file is of what this peer trains, and rewinds it.
func (g *Group) same(f *os.File, path string) error {
	h, err := readHeader(bufio.NewReader(f))
	if err != nil {
		return err
	}
	mine := g.lineage()
	switch {
	case h.Count != mine.Count || h.Seed != mine.Seed:
		return refusedFile("it is of %d samples with seed %d, here are %d with seed %d", h.Count, h.Seed, mine.Count, mine.Seed)
	case g.check != nil:
		if err := g.check([]string{path, g.id()}, [][]byte{h.Digest, mine.Digest}); err != nil {
			return refusedFile("it is of another model: %v", err)
		}
	case string(h.Digest) != string(mine.Digest):
		return refusedFile("it is of another model")
	}
	_, err = f.Seek(0, io.SeekStart)
	return err
}

// resume takes over a saved state, but not how the samples were shared out or when
// training was to end: that may be other now.
func (g *Group) resume(r io.Reader) error {
	p, err := readProgress(r)
	if err != nil {
		return err
	}
	if (p.Ledger == nil) != (g.ledger == nil) {
		return refusedFile("one of the two runs deals with samples itself")
	}
	if g.state != nil {
		if err := g.state.Load(r); err != nil {
			return fmt.Errorf("%w: load state: %w", ErrCheckpoint, err)
		}
	}
	if g.steps = p.Steps; g.ledger != nil {
		samples := g.ledger.Samples
		g.ledger = p.Ledger
		g.ledger.Samples = samples
	}
	return nil
}
