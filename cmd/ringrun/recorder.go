package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringrun/ringrun/elastic"
	"github.com/ringrun/ringrun/membership"
)

const (
	recordEvery    = 200 * time.Millisecond // collectives of which all parts are here are written
	lookEvery      = time.Second            // for newcomers
	clockEvery     = 10 * time.Second       // clocks drift
	traceRetry     = 100 * time.Millisecond
	tracePatience  = 10 * time.Second // for a peer that has just begun
	recordFarewell = time.Second      // for the last spans, when the run has ended
)

// A recorder reads the spans of all peers of a run, whoever comes and goes, and
// writes them to a timeline.
type recorder struct {
	ask   *asker
	t     *timeline
	steps uint64 // that are recorded; 0: all
	ctx   context.Context
	stop  context.CancelFunc

	readers sync.WaitGroup
	writers sync.WaitGroup

	mu    sync.Mutex
	known map[string]elastic.StatusPeer
	live  int           // readers
	ended chan struct{} // has room for one: a reader has ended
	errs  []error
}

// limits say how much a recorder keeps.
type limits struct {
	steps     uint64
	megabytes int
}

// record begins to record. The recorder lives until close, or ctx ends.
func (a *asker) record(ctx context.Context, file string, l limits) (*recorder, error) {
	t, err := newTimeline(file, int64(l.megabytes)<<20, time.Now())
	if err != nil {
		return nil, err
	}
	r := &recorder{ask: a, t: t, steps: l.steps, known: map[string]elastic.StatusPeer{}, ended: make(chan struct{}, 1)}
	r.ctx, r.stop = context.WithCancel(ctx)
	r.writers.Go(r.write)
	r.writers.Go(r.look)
	return r, nil
}

// add records one more peer.
func (r *recorder) add(p elastic.StatusPeer) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, known := r.known[p.ID]; known || r.ctx.Err() != nil {
		return
	}
	r.known[p.ID] = p
	r.live++
	r.readers.Go(func() {
		err := r.follow(p)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.live--
		if err != nil {
			r.errs = append(r.errs, err)
		}
		select {
		case r.ended <- struct{}{}:
		default:
		}
	})
}

func (r *recorder) write() {
	tick := time.NewTicker(recordEvery)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			r.mu.Lock()
			live := r.live
			r.mu.Unlock()
			r.t.settle(live, now)
		case <-r.ctx.Done():
			return
		}
	}
}

// look asks the peers it knows, one after the other, for others.
func (r *recorder) look() {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-r.ctx.Done():
			return
		}
		for _, p := range r.peers() {
			if s, err := r.ask.status(r.ctx, p.Addr); err == nil {
				for _, q := range s.Peers {
					r.add(q)
				}
				break
			}
		}
	}
}

func (r *recorder) peers() []elastic.StatusPeer {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []elastic.StatusPeer
	for _, p := range r.known {
		all = append(all, p)
	}
	return all
}

// follow records a peer until it ends.
func (r *recorder) follow(p elastic.StatusPeer) error {
	began := time.Now()
	for {
		ahead, err := r.ask.clock(r.ctx, p.Addr)
		if err == nil {
			err = r.read(p, ahead)
		}
		if err == nil || r.ctx.Err() != nil {
			return nil
		}
		var joining notYet
		if !errors.As(err, &joining) || time.Since(began) > tracePatience {
			return err
		}
		select {
		case <-time.After(traceRetry):
		case <-r.ctx.Done():
			return nil
		}
	}
}

// notYet is the answer of a peer that is still joining.
type notYet struct{ error }

func (r *recorder) read(p elastic.StatusPeer, ahead int64) error {
	ctx, cancel := context.WithCancel(r.ctx)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.Addr+"/trace", nil)
	if err != nil {
		return err
	}
	resp, err := r.ask.client.Do(req)
	if err != nil {
		return fmt.Errorf("peer at %s: %w", p.Addr, plain(err))
	}
	defer resp.Body.Close()
	switch got := resp.Header.Get("Content-Type"); {
	case resp.StatusCode == http.StatusServiceUnavailable:
		return notYet{fmt.Errorf("peer at %s: %s", p.Addr, resp.Status)}
	case resp.StatusCode != http.StatusOK || got != elastic.SpanType:
		return fmt.Errorf("peer at %s: %s, %q; want %q: is its program older than this ringrun, or newer?", p.Addr, resp.Status, got, elastic.SpanType)
	}
	var later atomic.Int64
	later.Store(ahead)
	var clocks sync.WaitGroup
	defer clocks.Wait()
	defer cancel()
	clocks.Go(func() { r.watchClock(ctx, p.Addr, &later) })
	return r.spans(p, elastic.NewSpanReader(resp.Body), &later)
}

// spans records what a peer sends.
func (r *recorder) spans(p elastic.StatusPeer, in *elastic.SpanReader, ahead *atomic.Int64) error {
	to := r.t.peer(p.ID)
	off := ahead.Load()
	for {
		s, err := in.Next()
		switch {
		case errors.Is(err, elastic.ErrSpan):
			return fmt.Errorf("peer at %s: %w", p.Addr, err)
		case err != nil: // it has ended, or we do
			return nil
		case r.steps > 0 && s.Step >= r.steps:
			return nil
		}
		s.Begin -= off
		s.End -= off
		r.t.add(to, s, time.Now())
		if s.Track == elastic.Phases { // nothing that was inside is still to come
			off = ahead.Load()
		}
	}
}

func (r *recorder) watchClock(ctx context.Context, addr string, ahead *atomic.Int64) {
	tick := time.NewTicker(clockEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if d, err := r.ask.clock(ctx, addr); err == nil {
			ahead.Store(d)
		}
	}
}

// wait waits until all peers have ended, at most until ctx does.
func (r *recorder) wait(ctx context.Context) {
	for {
		r.mu.Lock()
		live := r.live
		r.mu.Unlock()
		if live == 0 {
			return
		}
		select {
		case <-r.ended:
		case <-ctx.Done():
			return
		}
	}
}

// close ends the timeline and says what is in it.
func (r *recorder) close(out *printer) error {
	if r == nil {
		return nil
	}
	r.mu.Lock() // nobody is added any more
	r.stop()
	r.mu.Unlock()
	r.readers.Wait()
	r.writers.Wait()
	err := r.t.close()
	if err == nil {
		out.note("%s: %d spans of %s", r.t.name, r.t.spans, count(len(r.t.peers), "peer"))
	}
	if r.t.lost > 0 {
		out.note("%d more came too fast to be recorded", r.t.lost)
	}
	return errors.Join(append(r.errs, err)...)
}

// traceRun records the run that this launcher starts, if it is asked to.
func (j *job) traceRun() (*recorder, error) {
	o := j.opts
	if o.trace.file == "" || o.step != nil && o.step.rank > 0 { // task 0 does
		return nil, nil
	}
	client, err := membership.ControlClient(j.cred.secret, j.cred.run())
	if err != nil {
		return nil, err
	}
	r, err := (&asker{cred: j.cred, client: client}).record(context.Background(), o.trace.file, o.trace.limits)
	if err != nil {
		err = fmt.Errorf("-trace: %w", err)
	}
	return r, err
}

// endTrace ends what traceRun began.
func (j *job) endTrace() {
	if j.trace == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), recordFarewell)
	defer cancel()
	j.trace.wait(ctx)
	if err := j.trace.close(j.out); err != nil {
		j.out.note("-trace: %v", err)
	}
}
