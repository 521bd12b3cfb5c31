package elastic

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/ringrun/ringrun/membership"
	"go.uber.org/zap"
)

// ErrOver reports that the run has ended without this peer, whose state is not the
// one that the run ended with. Run does not return it.
var ErrOver = errors.New("elastic: the run has ended without this peer")

// errFinal tells those who wait for the end that it has come: another peer has seen
// all peers of a view commit the last step, this one among them.
var errFinal = errors.New("elastic: all peers have committed the last step")

const (
	// lingerTime is how long the peers wait, when all steps are done, for those
	// that were left out and may live: until then somebody has the state for them.
	lingerTime  = 5 * time.Second
	lingerCheck = 50 * time.Millisecond
)

// linger waits for peers that were left out, until each has come back, is proven to
// be dead, or all have had their time; or the generation ends.
func (g *Group) linger(ctx context.Context, gen *generation) {
	tick := time.NewTicker(lingerCheck)
	defer tick.Stop()
	for {
		missing := g.node().Missing()
		if len(missing) == 0 || !g.lingers.IsZero() && time.Since(g.lingers) > g.cfg.linger || g.moves(gen) {
			return
		}
		if g.lingers.IsZero() {
			g.lingers = time.Now()
			names := make([]string, len(missing))
			for i, p := range missing {
				names[i] = p.ID
			}
			g.report.lingers(g.id(), g.steps, names)
			g.say(gen, "all steps are done; waiting for peers that were left out", zap.Strings("peers", names), zap.Duration("at most", g.cfg.linger))
		}
		select {
		case <-tick.C:
		case <-gen.comm.Done():
			return
		case <-g.drained:
			return
		case <-ctx.Done():
			return
		}
	}
}

// moves reports whether another generation follows this one.
func (g *Group) moves(gen *generation) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.now != gen || g.ready > 0 || g.out || g.err != nil
}

// parted takes up why no generation follows.
func (g *Group) parted(err error) error {
	var over *membership.EndedError
	switch {
	case errors.Is(err, ErrDrained):
		g.left = true
	case !errors.As(err, &over):
	case g.has(over.End):
		g.final = &over.End
		g.mu.Lock()
		g.ended = true
		g.mu.Unlock()
		return errFinal
	default:
		g.left, g.late = true, over
		return fmt.Errorf("%w: %w", ErrOver, over)
	}
	return err
}

// has reports whether this peer's state is the one that the run ended with: it was
// equal to that of all others in the last view, or one after it.
func (g *Group) has(e membership.End) bool {
	return g.finishing && g.steps == e.Steps && g.sharedIn.Group == e.Group && g.sharedIn.Epoch >= e.Epoch
}

// hearOver takes up the word of a launcher that the run has ended.
func (g *Group) hearOver(e membership.End) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.word == nil {
		g.word = &e
		close(g.told)
	}
}

// untilTold returns a context that ends when there is word that the run has ended.
func (g *Group) untilTold(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-g.told:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// heardOver returns that word, if there is one, as an error.
func (g *Group) heardOver() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.word == nil {
		return nil
	}
	return &membership.EndedError{End: *g.word}
}

// over is told by a launcher of which other workers have ended the run.
func (in *inspector) over(w http.ResponseWriter, r *http.Request) {
	g := in.group.Load()
	if g == nil {
		http.Error(w, "this peer is joining", http.StatusServiceUnavailable)
		return
	}
	epoch, err := strconv.ParseUint(r.FormValue("epoch"), 10, 64)
	steps, err2 := strconv.ParseUint(r.FormValue("steps"), 10, 64)
	if err := errors.Join(err, err2); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	g.hearOver(membership.End{Group: r.FormValue("group"), Epoch: epoch, Steps: steps})
	w.WriteHeader(http.StatusAccepted)
}
