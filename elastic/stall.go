package elastic

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ringrun/ringrun/membership"
	"go.uber.org/zap"
)

const (
	stallTime  = time.Second // of waiting for others, from which on they are named
	stallCheck = stallTime / 4
	stallAsk   = stallTime / 2 // for a peer to say what it does
)

// watchStalls names those for whom this peer waits: while gradients should
// travel, whoever still computes, or does not answer.
func (g *Group) watchStalls(ctx context.Context) {
	client, err := membership.ControlClient(g.cfg.Membership.Secret, g.node().Run())
	if err != nil {
		g.cfg.Logger.Warn("cannot ask other peers what they do", zap.Error(err))
		return
	}
	defer client.CloseIdleConnections()
	tick := time.NewTicker(stallCheck)
	defer tick.Stop()
	told := ""
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		r := g.meter.read()
		patience := max(stallTime, time.Duration(r.pace*float64(time.Second)))
		if r.phase != Reducing || time.Since(r.since) < patience {
			told = ""
			continue
		}
		if who := g.blockers(ctx, client); who != "" && who != told {
			told = who
			g.cfg.Logger.Warn("this step waits for others", zap.Uint64("step", r.steps),
				zap.Duration("waits", time.Since(r.since).Round(time.Millisecond)), zap.String("for", who))
			g.report.stalled(g.id(), r.steps, who)
		}
	}
}

// blockers asks all peers of the view what they do, and describes those who keep
// the others waiting.
func (g *Group) blockers(ctx context.Context, client *http.Client) string {
	gen := g.current()
	if gen == nil {
		return ""
	}
	names := make([]string, len(gen.view.Peers))
	var asking sync.WaitGroup
	for i, p := range gen.view.Peers {
		if i != gen.rank {
			asking.Go(func() { names[i] = blocks(ctx, client, p) })
		}
	}
	asking.Wait()
	return strings.Join(slices.DeleteFunc(names, func(s string) bool { return s == "" }), ", ")
}

// blocks describes a peer that keeps others waiting, and is "" for one that
// waits as well.
func blocks(ctx context.Context, client *http.Client, p membership.Peer) string {
	ctx, cancel := context.WithTimeout(ctx, stallAsk)
	defer cancel()
	s, err := AskStatus(ctx, client, p.Addr)
	switch {
	case err != nil:
		return p.ID + " (does not answer)"
	case s.Phase == Reducing || s.Phase == Waiting:
		return ""
	default:
		return fmt.Sprintf("%s (%s)", p.ID, s.Phase)
	}
}

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
	if resp.StatusCode != http.StatusOK {
		return s, fmt.Errorf("elastic: peer at %s: %s", addr, resp.Status)
	}
	if err := json.NewDecoder(http.MaxBytesReader(nil, resp.Body, 1<<20)).Decode(&s); err != nil {
		return s, fmt.Errorf("elastic: status of the peer at %s: %w", addr, err)
	}
	return s, nil
}
