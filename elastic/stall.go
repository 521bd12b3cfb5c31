package elastic

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ringrun/ringrun/membership"
	"github.com/ringrun/ringrun/ring"
	"go.uber.org/zap"
)

const (
	stallTime  = time.Second // of waiting for others, from which on they are named
	stallCheck = stallTime / 5
	stallAsk   = 2 * stallTime / 5 // for a peer to say what it does
	usualTimes = 1.5               // of what reducing takes usually; below that nobody is named
)

// A blocker keeps others waiting.
type blocker struct {
	id, what string
	silent   bool // it does not answer
}

// watchStalls names those for whom this peer waits: while gradients should
// travel, or the group should agree, whoever still computes, or does not answer.
func (g *Group) watchStalls(ctx context.Context) {
	client, err := membership.ControlClient(g.cfg.Membership.Secret, g.node().Run())
	if err != nil {
		g.cfg.Logger.Warn("cannot ask other peers what they do", zap.Error(err))
		return
	}
	defer client.CloseIdleConnections()
	tick := time.NewTicker(stallCheck)
	defer tick.Stop()
	var told []blocker
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		r := g.meter.read()
		patience := max(stallTime, time.Duration(usualTimes*r.usual*float64(time.Second)))
		if r.phase != Reducing && r.phase != Waiting || time.Since(r.since) < patience {
			told = nil
			continue
		}
		all := g.blockers(ctx, client)
		same := slices.EqualFunc(all, told, func(a, b blocker) bool { return a.id == b.id && a.silent == b.silent })
		if len(all) > 0 && !same && ctx.Err() == nil {
			told = all
			g.sayStalled(r, all)
		}
	}
}

func (g *Group) sayStalled(r reading, all []blocker) {
	var who, whats []string
	for _, b := range all {
		who, whats = append(who, b.id), append(whats, fmt.Sprintf("%s (%s)", b.id, b.what))
	}
	what := strings.Join(whats, ", ")
	g.cfg.Logger.Warn("this step waits for others", zap.Uint64("step", r.steps),
		zap.Duration("waits", time.Since(r.since).Round(time.Millisecond)), zap.String("for", what))
	g.report.stalled(g.id(), r.steps, who, what)
}

// blockers asks all peers of the view what they do, and describes those who keep
// the others waiting.
func (g *Group) blockers(ctx context.Context, client *http.Client) []blocker {
	gen := g.current()
	if gen == nil {
		return nil
	}
	said := make([]Status, len(gen.view.Peers))
	errs := make([]error, len(said))
	var asking sync.WaitGroup
	for i, p := range gen.view.Peers {
		if i != gen.rank {
			asking.Go(func() {
				ctx, cancel := context.WithTimeout(ctx, stallAsk)
				defer cancel()
				said[i], errs[i] = AskStatus(ctx, client, p.Addr)
			})
		}
	}
	asking.Wait()
	heard := gen.comm.Heard() // what those who do not answer have said to their neighbours
	for _, s := range said {
		for id, word := range s.Heard {
			heard[id] = max(heard[id], word)
		}
	}
	var all []blocker
	for i, p := range gen.view.Peers {
		if i == gen.rank {
			continue
		}
		if what := blocks(said[i], errs[i], heard[p.ID]); what != "" {
			all = append(all, blocker{p.ID, what, errs[i] != nil})
		}
	}
	return all
}

// blocks describes a peer that keeps others waiting, and is "" for one that
// waits as well.
func blocks(s Status, err error, heard uint64) string {
	switch {
	case err != nil && heard != 0:
		return "does not answer; last heard " + LastHeard(heard)
	case err != nil:
		return "does not answer"
	case s.Phase == Reducing || s.Phase == Waiting:
		return ""
	default:
		return s.Doing()
	}
}

// Doing says what the peer does: "computing, 2.1s, last bucket 3 of 7".
func (s Status) Doing() string {
	in := time.Duration(s.InPhase * float64(time.Second))
	unit := 100 * time.Millisecond
	if in < time.Second {
		unit = time.Millisecond
	}
	what := fmt.Sprintf("%s, %v", s.Phase, in.Round(unit))
	if far := (doing{bucket: s.Bucket, buckets: s.Buckets}).progress(); far != "" {
		what += ", " + far
	}
	if s.Why != "" {
		what += "; " + s.Why
	}
	return what
}

// saySilent tells, on every peer, of one whose silence has broken the ring.
func (g *Group) saySilent(gen *generation) {
	abort, ok := errors.AsType[*ring.AbortError](gen.comm.Err())
	if !ok || abort.About == "" {
		return
	}
	g.cfg.Logger.Warn("a peer is silent", zap.String("silent", abort.About), zap.Uint64("epoch", gen.view.Epoch), zap.String("why", abort.Text))
	g.report.silent(g.id(), abort.About, abort.Text)
}

// ErrJoining reports that a peer is there, and not in the group yet.
var ErrJoining = errors.New("elastic: it is joining")

// AskStatus asks the peer at addr how it is; see membership.ControlClient.
func AskStatus(ctx context.Context, client *http.Client, addr string) (Status, error) {
	var s Status
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/status", nil)
	if err != nil {
		return s, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return s, err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusServiceUnavailable {
		return s, fmt.Errorf("peer at %s: %w", addr, ErrJoining)
	}
	if resp.StatusCode != http.StatusOK {
		return s, fmt.Errorf("elastic: peer at %s: %s", addr, resp.Status)
	}
	if err := json.NewDecoder(http.MaxBytesReader(nil, resp.Body, 1<<20)).Decode(&s); err != nil {
		return s, fmt.Errorf("elastic: status of the peer at %s: %w", addr, err)
	}
	return s, nil
}
