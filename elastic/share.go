package elastic

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/ringrun/ringrun/allreduce"
	"github.com/ringrun/ringrun/ring"
	"go.uber.org/zap"
)

// sync returns a generation whose peers all have the same state. It shares the
// state first when the generation is new, and waits for the next generation when
// the ring breaks meanwhile.
func (g *Group) sync(ctx context.Context) (*generation, error) {
	switch {
	case g.late != nil:
		return nil, ErrOver
	case g.left:
		return nil, ErrDrained
	}
	if err := g.restore(); err != nil {
		return nil, err
	}
	if err := g.gather(ctx); err != nil {
		return nil, g.parted(err)
	}
	for {
		gen, err := g.await(ctx)
		if err != nil {
			return nil, g.parted(err)
		}
		if gen.shared {
			return gen, nil
		}
		if g.tooFew(gen) {
			if err := g.awaitMore(ctx, gen); err != nil {
				return nil, g.parted(err)
			}
			continue
		}
		g.use(gen)
		err = g.share(ctx, gen)
		switch {
		case err == nil:
			gen.shared, gen.talk = true, talk{gap: 1}
			g.sharedIn = gen.view
			g.meter.trace.step(false)
			return gen, nil
		case !retry(ctx, err):
			return nil, err
		}
	}
}

// gather waits, in a founder's first generation, for the peers to start with.
func (g *Group) gather(ctx context.Context) error {
	if g.veteran != "" || g.cfg.Size == 1 || !g.cfg.Membership.Found {
		return nil
	}
	patience := startPatience(g.startup, g.cfg.Membership.JoinWait)
	ctx, cancel := context.WithTimeoutCause(ctx, patience,
		fmt.Errorf("elastic: no other peer came within %v, %d were to start", patience.Round(time.Second), g.cfg.Size))
	defer cancel()
	for {
		g.mu.Lock()
		gen, err, changed := g.now, g.err, g.changed
		g.mu.Unlock()
		if err != nil || gen != nil && gen.view.Epoch > 1 {
			return err // if it is alone now, the others came and went
		}
		select {
		case <-changed:
		case <-g.drained:
			return ErrDrained
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// processBegan is about when this process did.
var processBegan = time.Now()

// startPatience is how long a founder waits for the others, which are started when
// it listens: each may read its data first, as long as the founder did or longer. A
// scheduler may start them later still.
func startPatience(startup, joinWait time.Duration) time.Duration {
	return max(startTimeout+2*min(max(startup, 0), longestStartup), joinWait)
}

// share makes the peers of a new generation equal: each tells what it has, all
// draw the same conclusion (decide, deal), and whoever is behind gets the state
// of one that is not.
func (g *Group) share(ctx context.Context, gen *generation) error {
	began := time.Now()
	if g.bound {
		g.next = step{} // its passes were another ring's
	}
	defer g.meter.inside("agree on the state", began)
	mine, err := g.status(gen)
	if err != nil {
		return err
	}
	all, err := exchange(ctx, gen.comm, mine)
	if err != nil {
		return err
	}
	if err := g.compare(gen, all); err != nil {
		part(ctx, gen.comm)
		return err
	}
	p, err := decide(all)
	if err != nil {
		return err
	}
	if err := g.heal(ctx, gen, all, p); err != nil {
		return err
	}
	if p.anyNeeds() {
		if err := g.transfer(ctx, gen, all, p); err != nil {
			return err
		}
	}
	g.veteran = mine.ID
	if err := g.weigh(); err != nil {
		return err
	}
	g.strayed.Store(false)
	g.verifier.reset()
	g.clerk.begun(g, gen)
	g.deal(gen, all, p)
	if err := g.bind(ctx, gen); err != nil {
		return err
	}
	g.say(gen, "shared", zap.Uint64("epoch", gen.view.Epoch), zap.Uint64("steps", g.steps),
		zap.Bool("moved", p.anyNeeds()), zap.Duration("took", time.Since(began)))
	return nil
}

func (g *Group) status(gen *generation) (status, error) {
	id := gen.view.Peers[gen.rank].ID
	s := status{
		ID:      id,
		Steps:   g.steps,
		Veteran: g.veteran == id || gen.view.Group == id || gen.founding,
		Holding: g.next.holding,
		Hand:    g.next.hand,
		Digest:  g.digest,
		Shared:  g.veteran == id,
		Trail:   g.verifier.trail,
	}
	if g.ledger != nil {
		s.Samples, s.Dealt = g.ledger.Samples, g.ledger.peers
	}
	var err error
	if g.own, err = g.survey(nil); err != nil {
		return status{}, err
	}
	s.Sum, s.Bytes, s.ViaRing = g.own.sum(), g.own.bytes, g.viaRing
	return s, nil
}

func exchange(ctx context.Context, c *allreduce.Comm, mine status) ([]status, error) {
	b, err := json.Marshal(mine)
	if err != nil {
		return nil, err
	}
	texts, err := c.Gather(ctx, b)
	if err != nil {
		return nil, err
	}
	return parseStatuses(texts)
}

func parseStatuses(texts [][]byte) ([]status, error) {
	all := make([]status, len(texts))
	for r, t := range texts {
		if err := json.Unmarshal(t, &all[r]); err != nil {
			return nil, fmt.Errorf("elastic: status of rank %d: %w", r, err)
		}
	}
	return all, nil
}

// compare checks that all peers train the same model on the same samples. Peers
// that differ from the group they want to join fail; the group goes on.
func (g *Group) compare(gen *generation, all []status) error {
	err := g.alike(all)
	if err == nil {
		return nil
	}
	veterans := slices.DeleteFunc(slices.Clone(all), func(s status) bool { return !s.Veteran })
	if !all[gen.rank].Veteran || g.alike(veterans) != nil {
		return misfit{err}
	}
	g.cfg.Logger.Warn("a newcomer does not fit", zap.Error(err))
	gen.comm.Close()
	return fmt.Errorf("%w: %w", ring.ErrBroken, err)
}

// A misfit is an error of a peer that would be the same if it were started again:
// it does not fit the others.
type misfit struct{ error }

func (m misfit) Unwrap() error { return m.error }

// part lets the others come as far as we did before our end breaks the ring, so
// that they find the same error.
func part(ctx context.Context, c *allreduce.Comm) {
	ctx, cancel := context.WithTimeout(ctx, partTimeout)
	defer cancel()
	_ = c.Barrier(ctx) // who has gone already does not matter
}

func (g *Group) alike(all []status) error {
	if g.check != nil {
		ids, digests := make([]string, len(all)), make([][]byte, len(all))
		for r, s := range all {
			ids[r], digests[r] = s.ID, s.Digest
		}
		if err := g.check(ids, digests); err != nil {
			return err
		}
	}
	return agreed(all)
}

// deal settles what each peer contributes to the next step.
func (g *Group) deal(gen *generation, all []status, p plan) {
	if g.ledger == nil {
		g.next = step{dealt: true, holding: p.Hold[gen.rank], weights: Weights{1, float64(len(all))}}
		return
	}
	g.ledger.peers = p.peers(all)
	hands, anew := p.deal(all, g.ledger.batch(), g.ledger.Samples.Shard)
	if anew {
		g.next = step{}
		return
	}
	taken := 0
	if p.Hold[gen.rank] {
		taken = g.next.taken
	}
	g.next = g.newStep(hands, gen.rank)
	g.next.holding, g.next.taken = p.Hold[gen.rank], taken
}

// newStep returns a step to which each rank contributes one of the hands.
func (g *Group) newStep(hands [][]int, rank int) step {
	s := step{dealt: true, hand: hands[rank], hands: hands}
	for _, h := range hands {
		s.consumed = append(s.consumed, h...)
	}
	shard := float64(g.ledger.Samples.Shard)
	s.weights = Weights{float64(len(s.hand)) / shard, float64(len(s.consumed)) / shard}
	return s
}

// What is saved is
//
//	+----------------+----------------------------+-------------+
//	| length, uint32 | progress, JSON and spaces  | the State   |
//	+----------------+----------------------------+-------------+
//
// The spaces let the State begin at a multiple of alignBytes, so that the parts
// of it that do not change are in equal pieces after every step.
type progress struct {
	Steps  uint64
	Ledger *ledger
}

const (
	alignBytes  = 4 << 10
	maxProgress = 64 << 20 // a ledger is some numbers and the positions that were left over
)

func (g *Group) save(w io.Writer) error {
	b, err := json.Marshal(progress{g.steps, g.ledger})
	if err != nil {
		return err
	}
	for (4+len(b))%alignBytes != 0 {
		b = append(b, ' ')
	}
	if _, err := w.Write(append(binary.LittleEndian.AppendUint32(nil, uint32(len(b))), b...)); err != nil {
		return err
	}
	if g.state != nil {
		if err := g.state.Save(w); err != nil {
			return fmt.Errorf("elastic: save state: %w", err)
		}
	}
	return nil
}

// load takes over what another peer has saved.
func (g *Group) load(r io.Reader) error {
	p, err := readProgress(r)
	if err != nil {
		return err
	}
	if (p.Ledger == nil) != (g.ledger == nil) || p.Ledger != nil && p.Ledger.Samples != g.ledger.Samples {
		return fmt.Errorf("elastic: the state received belongs to other samples")
	}
	if g.state != nil {
		if err := g.state.Load(r); err != nil {
			return fmt.Errorf("elastic: load state: %w", err)
		}
	}
	g.steps, g.ledger = p.Steps, p.Ledger
	return nil
}

// readProgress reads up to where the State begins.
func readProgress(r io.Reader) (progress, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return progress{}, fmt.Errorf("elastic: progress in a saved state: %w", err)
	}
	n := int64(binary.LittleEndian.Uint32(head[:]))
	if n > maxProgress {
		return progress{}, fmt.Errorf("elastic: progress of %d bytes in a saved state, at most %d", n, maxProgress)
	}
	b, err := io.ReadAll(io.LimitReader(r, n)) // memory grows with what is there
	if err == nil && int64(len(b)) < n {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return progress{}, fmt.Errorf("elastic: progress in a saved state: %w", err)
	}
	var p progress
	if err := json.Unmarshal(b, &p); err != nil {
		return progress{}, fmt.Errorf("elastic: progress in a saved state: %w", err)
	}
	if p.Ledger != nil {
		if err := p.Ledger.validate(); err != nil {
			return progress{}, err
		}
	}
	return p, nil
}
